//! The account that was probably meant.

use sfkey::proto::AccountName;

use super::Invocation;
use crate::{
    config::{self, Config},
    exit::Failure,
};

/// The failure of a command that named an account which is not loaded, with the name that was probably meant,
/// from what the agent has and what the configuration says.
pub(super) async fn suggest(invocation: &Invocation<'_>, failure: Failure) -> Failure {
    let typed = match invocation.named.get() {
        Some(typed) if !typed.is_empty() => typed.as_str(),
        _ => return failure,
    };
    // Neither is asked for its own sake: whatever it cannot say is not suggested.
    let loaded = match invocation.connect().await {
        Ok(agent) => agent.accounts().await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let config = Config::read(&invocation.environment).unwrap_or_default();
    let configured = config.accounts.keys().map(AccountName::as_str);
    let names: Vec<&str> = loaded
        .iter()
        .map(|account| account.account.as_str())
        .chain(configured)
        .filter(|name| *name != typed)
        .collect();
    match meant(typed, &names) {
        Some(name) => failure.did_you_mean(name),
        None => failure,
    }
}

/// The only name that begins like this, else the one that looks most like it.
fn meant<'n>(typed: &str, names: &[&'n str]) -> Option<&'n str> {
    let typed = typed.to_lowercase();
    let mut begin = names
        .iter()
        .filter(|name| name.to_lowercase().starts_with(&typed));
    match (begin.next(), begin.all(|_| false)) {
        (Some(only), true) => Some(only),
        _ => config::similar(&typed, names.iter().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_or_a_slip_of_the_fingers_is_understood() {
        let names = ["prod", "uat", "staging", "staging-eu"];
        for (typed, name) in [
            ("pr", Some("prod")),
            ("PROD", Some("prod")),
            ("prdo", Some("prod")),
            ("u", Some("uat")),
            ("stagng", Some("staging")),
            ("xyz", None),
        ] {
            assert_eq!(meant(typed, &names), name, "{typed}");
        }
        assert_eq!(meant("prod", &[]), None);
    }
}
