//! The rules that a decision is made by, and how they become stricter.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::PathBuf,
};

use sfkey_proto::{AccountName, duration};

use crate::settings::{AccountPolicy, Confirm, Settings, SettingsError, SettingsFile, TokenSocket, UnitName};

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The agent's own user, who may do everything that no other rule forbids.
    pub owner: u32,
    /// The restricted socket; `None` when there is none.
    pub token_socket: Option<TokenSocketRule>,
    /// The accounts that have a rule of their own.
    pub accounts: BTreeMap<AccountName, AccountRule>,
}

/// Who is answered at the restricted socket, and with tokens of which accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSocketRule {
    /// Users besides the owner.
    pub uids: BTreeSet<u32>,
    /// Groups whose members are answered, root aside.
    pub gids: BTreeSet<u32>,
    /// Accounts.
    pub accounts: BTreeSet<AccountName>,
}

/// What must hold of a caller of one account; `None` asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountRule {
    /// It runs in one of these units.
    pub units: Option<BTreeSet<UnitName>>,
    /// It runs one of these programs.
    pub executables: Option<BTreeSet<PathBuf>>,
    /// The user says yes.
    pub confirm: Option<Confirm>,
}

impl Rules {
    /// The rules of an agent that runs as `owner`.
    #[must_use]
    pub fn new(owner: u32, settings: &Settings) -> Self {
        Self {
            owner,
            token_socket: settings.token_socket.as_ref().map(TokenSocketRule::of),
            accounts: settings
                .policies()
                .map(|(name, policy)| (name.clone(), AccountRule::of(policy)))
                .collect(),
        }
    }

    /// Rules under which nothing is allowed that either these or `wanted` forbid, and what `wanted` would allow
    /// beyond these, a line each.
    #[must_use]
    pub fn tightened(&self, wanted: &Self) -> (Self, Vec<String>) {
        let mut left = Vec::new();
        let mut accounts = self.accounts.clone();
        for name in self
            .accounts
            .keys()
            .chain(wanted.accounts.keys())
            .collect::<BTreeSet<_>>()
        {
            let (old, new) = (self.accounts.get(name), wanted.accounts.get(name));
            let rule = AccountRule::tightened(name, old, new, &mut left);
            accounts.insert(name.clone(), rule);
        }
        let token_socket = match (&self.token_socket, &wanted.token_socket) {
            (Some(old), Some(new)) => Some(old.tightened(new, &mut left)),
            // The socket stays, and nobody is answered there.
            (Some(_), None) => Some(TokenSocketRule::default()),
            (None, Some(_)) => {
                left.push("[token_socket] is new".to_owned());
                None
            }
            (None, None) => None,
        };
        let rules = Self {
            owner: self.owner,
            token_socket,
            accounts,
        };
        (rules, left)
    }
}

impl TokenSocketRule {
    fn of(socket: &TokenSocket) -> Self {
        Self {
            uids: socket.uids.iter().copied().collect(),
            gids: socket.gids.iter().copied().collect(),
            accounts: socket.accounts.iter().map(|name| name.0.clone()).collect(),
        }
    }

    fn tightened(&self, wanted: &Self, left: &mut Vec<String>) -> Self {
        Self {
            uids: fewer("[token_socket] uids", &self.uids, &wanted.uids, left),
            gids: fewer("[token_socket] gids", &self.gids, &wanted.gids, left),
            accounts: fewer("[token_socket] accounts", &self.accounts, &wanted.accounts, left),
        }
    }
}

impl AccountRule {
    fn of(policy: &AccountPolicy) -> Self {
        Self {
            units: policy.units.as_ref().map(|units| units.iter().cloned().collect()),
            executables: policy
                .executables
                .as_ref()
                .map(|paths| paths.iter().cloned().collect()),
            confirm: policy.confirm,
        }
    }

    fn tightened(name: &AccountName, old: Option<&Self>, new: Option<&Self>, left: &mut Vec<String>) -> Self {
        let (nothing, place) = (Self::default(), format!("[accounts.{name}.policy]"));
        let (old, new) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
        Self {
            units: fewer_if_any(
                &format!("{place} units"),
                old.units.as_ref(),
                new.units.as_ref(),
                left,
            ),
            executables: fewer_if_any(
                &format!("{place} executables"),
                old.executables.as_ref(),
                new.executables.as_ref(),
                left,
            ),
            confirm: oftener(&place, old.confirm, new.confirm, left),
        }
    }
}

impl fmt::Display for AccountRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(units) = &self.units {
            parts.push(format!(
                "callers in {}",
                any_of(units.iter().map(ToString::to_string))
            ));
        }
        if let Some(programs) = &self.executables {
            let programs = programs.iter().map(|path| path.display().to_string());
            parts.push(format!("callers that run {}", any_of(programs)));
        }
        match self.confirm {
            None => {}
            Some(Confirm::Always) => parts.push("the user is asked every time".to_owned()),
            Some(Confirm::Remember(time)) => {
                let time = duration::format(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
                parts.push(format!("the user is asked, once in {time}"));
            }
        }
        if parts.is_empty() {
            parts.push("every program of this user".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}

fn any_of(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        "nothing, so nobody".to_owned()
    } else {
        items.join(" or ")
    }
}

/// What is in both.
fn fewer<T: Ord + Clone>(
    what: &str,
    old: &BTreeSet<T>,
    wanted: &BTreeSet<T>,
    left: &mut Vec<String>,
) -> BTreeSet<T> {
    if !wanted.is_subset(old) {
        left.push(format!("{what} has new entries"));
    }
    old.intersection(wanted).cloned().collect()
}

/// What is in both, where a set that is not there holds everything.
fn fewer_if_any<T: Ord + Clone>(
    what: &str,
    old: Option<&BTreeSet<T>>,
    wanted: Option<&BTreeSet<T>>,
    left: &mut Vec<String>,
) -> Option<BTreeSet<T>> {
    match (old, wanted) {
        (Some(old), Some(wanted)) => Some(fewer(what, old, wanted, left)),
        (Some(old), None) => {
            left.push(format!("{what} is gone"));
            Some(old.clone())
        }
        (None, wanted) => wanted.cloned(),
    }
}

fn oftener(
    place: &str,
    old: Option<Confirm>,
    wanted: Option<Confirm>,
    left: &mut Vec<String>,
) -> Option<Confirm> {
    let stricter = match (old, wanted) {
        (None, wanted) => wanted,
        (old, None) => old,
        (Some(Confirm::Always), _) | (_, Some(Confirm::Always)) => Some(Confirm::Always),
        (Some(Confirm::Remember(old)), Some(Confirm::Remember(wanted))) => {
            Some(Confirm::Remember(old.min(wanted)))
        }
    };
    if stricter != wanted {
        left.push(format!("{place} confirm asks less often, or is gone"));
    }
    stricter
}

/// Requires that this agent can hold to what the rules ask for. `identity` tells whether processes are known for
/// certain.
///
/// # Errors
/// A restriction that cannot be applied: better no agent than one that pretends.
pub fn require_applicable(
    rules: &Rules,
    file: Option<&SettingsFile>,
    identity: &io::Result<()>,
    veiled: bool,
) -> Result<(), SettingsError> {
    let by_program = rules.accounts.iter().find(|(_, rule)| rule.executables.is_some());
    if let (Some((name, _)), Some(file)) = (by_program, file)
        && file.is_of_the_system()
    {
        return Err(SettingsError::new(
            format!(
                "{}: executables of [accounts.{name}.policy] cannot hold: an agent of the whole system does not see other users' programs",
                file.path().display()
            ),
            "name the callers' systemd units: units = [\"nightly.service\"]",
        ));
    }
    if veiled {
        require_unveiled(rules)?;
    }
    let by_process = rules
        .accounts
        .iter()
        .find(|(_, rule)| rule.executables.is_some() || rule.units.is_some());
    if let (Some((name, _)), Err(error)) = (by_process, identity) {
        return Err(SettingsError::new(
            format!(
                "[accounts.{name}.policy] cannot hold: this system does not tell for certain which process calls ({error})"
            ),
            "use Linux 6.5 or newer with /proc mounted, or remove units and executables from agent.toml",
        ));
    }
    match &rules.token_socket {
        Some(rule) if rule.accounts.is_empty() => Err(SettingsError::new(
            "the restricted socket is there for no account",
            "list them in agent.toml, [token_socket]: accounts = [\"prod\"]",
        )),
        _ => Ok(()),
    }
}

/// What needs to see others: their programs, or their ids.
fn require_unveiled(rules: &Rules) -> Result<(), SettingsError> {
    const FIX: &str = "take PrivateUsers= out of the unit with the drop-in confirm.conf (docs/operations.md), or this out of agent.toml";
    let by_program = rules.accounts.iter().find(|(_, rule)| rule.executables.is_some());
    let by_user = |rule: &TokenSocketRule| !(rule.uids.is_empty() && rule.gids.is_empty());
    let what = match (by_program, &rules.token_socket) {
        (Some((name, _)), _) => format!("executables of [accounts.{name}.policy]"),
        (None, Some(rule)) if by_user(rule) => "uids and gids of [token_socket]".to_owned(),
        _ => return Ok(()),
    };
    let why = "in a user namespace without root, other users and all programs outside look alike";
    Err(SettingsError::new(format!("{what} cannot hold: {why}"), FIX))
}
