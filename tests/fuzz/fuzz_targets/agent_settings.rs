//! The agent's own configuration, `agent.toml`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sfkey_agent::{
    policy::Rules,
    settings::{Confirm, Settings, UnitName},
};
use sfkey_fuzz::text;

/// Quoted names and values are as long as the file has them.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

const OWNER: u32 = 1000;

fuzz_target!(|input: &[u8]| {
    let Ok(file) = std::str::from_utf8(input) else {
        return;
    };
    match Settings::parse(file) {
        Ok(settings) => assert_settings(&settings),
        Err(error) => {
            text::assert_shown(&error.to_string(), MAX_MESSAGE_BYTES);
            text::assert_shown(error.fix(), MAX_MESSAGE_BYTES);
            assert!(!error.fix().is_empty(), "no next step: {error}");
        }
    }
});

/// Whatever is taken obeys the rules, and is no stricter than itself.
fn assert_settings(settings: &Settings) {
    assert!(settings.askpass.as_ref().is_none_or(|path| path.is_absolute()));
    for (_, policy) in settings.policies() {
        assert!(policy.executables.iter().flatten().all(|path| path.is_absolute()));
        for unit in policy.units.iter().flatten() {
            let (UnitName::System(name) | UnitName::User(name)) = unit;
            assert!(!name.contains('/') && UnitName::is_name(name), "{unit}");
        }
        if let Some(Confirm::Remember(time)) = policy.confirm {
            assert!(!time.is_zero());
        }
    }
    assert_eq!(settings.differences(settings), Vec::<String>::new());
    let rules = Rules::new(OWNER, settings);
    let (same, left) = rules.tightened(&rules);
    assert_eq!((same, left), (rules, Vec::new()));
}
