//! The manual, held against what it describes.

use std::path::Path;

use serde_json::Value;
use sfkey_tests::sim::{Config, Knobs, Refusal};

const MANUAL: &str = include_str!("../../../docs/simulator.md");

#[test]
fn the_configuration_of_the_manual_is_valid() {
    let text = MANUAL
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("an example");
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = &crate::bench::key().certificate_pem;
    std::fs::write(folder.path().join("server.crt"), certificate).expect("a file");
    let config = Config::from_toml(text, folder.path()).expect("a configuration");
    assert_eq!(config.orgs.len(), 2);
    assert_eq!(config.orgs[0].records["Account"][0]["Name"], "Acme");
    assert_eq!(config.apps[0].certificate.as_ref(), Some(certificate));
    assert_eq!(config.faults.len(), 1);
    assert!(Config::from_toml("lisen = 1", Path::new("")).is_err());
}

#[test]
fn every_knob_stands_in_the_manual() {
    let knobs = serde_json::to_value(Knobs::default()).expect("knobs are JSON");
    for name in knobs.as_object().expect("an object").keys() {
        assert!(MANUAL.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[test]
fn every_refusal_stands_in_the_manual_with_its_texts() {
    for refusal in Refusal::ALL {
        let name = serde_json::to_value(refusal).expect("a name");
        let name = name.as_str().map(str::to_owned).expect("a name");
        let row = format!(
            "| `{name}` | {} | {} |",
            refusal.error(),
            refusal.description(false)
        );
        assert!(MANUAL.contains(&row), "{row}");
    }
}

#[test]
fn every_flag_stands_in_the_manual() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_salesforce-sim"))
        .arg("--help")
        .output();
    let help = String::from_utf8(help.expect("it runs").stdout).expect("text");
    let flags: Vec<&str> = help
        .lines()
        .take_while(|line| !line.starts_with("Examples"))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")))
        .filter(|flag| !matches!(*flag, "--help" | "--version"))
        .collect();
    assert!(flags.len() > 12, "{flags:?}");
    for flag in flags {
        assert!(MANUAL.contains(&format!("`{flag}")), "{flag}");
    }
}

#[test]
fn every_fault_of_the_manual_is_one() {
    let table = MANUAL
        .split("## Faults")
        .nth(1)
        .and_then(|rest| rest.split("## Control").next())
        .expect("faults");
    let kinds: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(kinds.len(), 15, "{kinds:?}");
    for kind in kinds {
        let rule = serde_json::json!({
            "kind": kind, "location": "https://elsewhere.example", "refusal": "app-blocked", "status": 302,
        });
        let members: &[&str] = match kind {
            "redirect" => &["kind", "location", "status"],
            "refuse" => &["kind", "refusal"],
            "canned" => &["kind", "status"],
            _ => &["kind"],
        };
        let rule: Value = rule
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| members.contains(&name.as_str()))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let rule: Result<sfkey_tests::sim::FaultRule, _> = serde_json::from_value(rule);
        assert!(rule.is_ok(), "{kind}: {rule:?}");
    }
}
