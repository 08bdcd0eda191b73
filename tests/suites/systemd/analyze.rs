//! What systemd itself says about the units.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use sfkey_tests::support::stranger::skipped;
use tempfile::TempDir;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// The units of a folder with programs that exist, instances instead of templates.
fn installed(folder: &str) -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(sources().join(folder)).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .replace('@', "@sfkey");
        if !name.ends_with(".service") && !name.ends_with(".socket") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a unit");
        let text = text
            .replace("ExecStart=sfkey", "ExecStart=/bin/true sfkey")
            .replace("Documentation=man:", "#");
        fs::write(place.path().join(name), text).expect("written");
    }
    place
}

/// The drop-in for a program that asks, in its place.
fn with_confirm(place: &TempDir) {
    let folder = place.path().join("sfkey-agent.service.d");
    fs::create_dir(&folder).expect("created");
    fs::copy(sources().join("user/confirm.conf"), folder.join("confirm.conf")).expect("copied");
}

fn is_there(test: &str) -> bool {
    let there = Path::new("/usr/bin/systemd-analyze").exists();
    if !there {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "systemd is missing");
        skipped(test, "systemd is not installed");
    }
    there
}

fn analyze(place: &TempDir, line: &[&str]) -> (bool, String, String) {
    let output = Command::new("systemd-analyze")
        .args(line)
        .current_dir(place.path())
        .env("SYSTEMD_UNIT_PATH", format!("{}:", place.path().display()))
        .env("XDG_RUNTIME_DIR", place.path())
        .env("SYSTEMD_LOG_TARGET", "console")
        .output()
        .expect("it can be executed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units() {
    if !is_there("systemd_finds_nothing_to_say_about_the_units") {
        return;
    }
    for (folder, own) in [("user", &["--user"][..]), ("system", &[])] {
        let place = installed(folder);
        let names: Vec<String> = fs::read_dir(place.path())
            .expect("readable")
            .map(|entry| format!("./{}", entry.expect("an entry").file_name().to_string_lossy()))
            .collect();
        assert!(names.len() >= 2, "{names:?}");
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let line = [&["verify", "--man=no", "--recursive-errors=no"][..], own, &names].concat();
        let (done, _, complaints) = analyze(&place, &line);
        // It ends with 0 even when it does not know a key.
        assert_eq!((done, complaints.as_str()), (true, ""), "{folder}");
    }
}

#[test]
fn systemd_finds_nothing_to_say_about_the_drop_in_for_a_program_that_asks() {
    if !is_there("systemd_finds_nothing_to_say_about_the_drop_in_for_a_program_that_asks") {
        return;
    }
    let place = installed("user");
    with_confirm(&place);
    let line = [
        "verify",
        "--man=no",
        "--recursive-errors=no",
        "--user",
        "./sfkey-agent.service",
    ];
    let (done, _, complaints) = analyze(&place, &line);
    assert_eq!((done, complaints.as_str()), (true, ""));
}

/// The exposure level in tenths, as `systemd-analyze security` ends with it.
fn exposure(folder: &str, own: &[&str], unit: &str) -> u32 {
    let place = installed(folder);
    let unit = format!("./{unit}");
    let line = [
        &["security", "--offline=true", "--no-pager"][..],
        own,
        &[unit.as_str()],
    ]
    .concat();
    let (_, report, complaints) = analyze(&place, &line);
    let last = report.lines().last().unwrap_or_default();
    let level = last.split_whitespace().find_map(|word| {
        let (whole, tenth) = word.split_once('.')?;
        Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?)
    });
    level.unwrap_or_else(|| panic!("no level: {report}{complaints}"))
}

#[test]
fn the_agents_are_exposed_as_little_as_was_promised() {
    if !is_there("the_agents_are_exposed_as_little_as_was_promised") {
        return;
    }
    let user = exposure("user", &["--user"], "sfkey-agent.service");
    let system = exposure("system", &[], "sfkey-agent@sfkey.service");
    let loader = exposure("system", &[], "sfkey-load@sfkey.service");
    assert!(
        user <= 19 && system <= 15 && loader <= 15,
        "{user} {system} {loader}"
    );
}

#[test]
fn the_system_unit_hides_no_caller_and_keeps_memfd_secret() {
    let text = fs::read_to_string(sources().join("system/sfkey-agent@.service")).expect("the unit");
    let set = |name: &str| text.lines().any(|line| line.starts_with(&format!("{name}=")));
    for directive in [
        "ProtectProc",
        "ProcSubset",
        "PrivateUsers",
        "LoadCredential",
        "LoadCredentialEncrypted",
    ] {
        assert!(!set(directive), "{directive}");
    }
    assert!(
        text.contains("\nSystemCallFilter=@system-service memfd_secret\n"),
        "{text}"
    );
    assert!(set("LimitMEMLOCK"));
}
