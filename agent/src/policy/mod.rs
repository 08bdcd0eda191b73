//! May this peer do this to this account? Pure, and the only place that can say yes.
//!
//! The answer is a value that the next step requires: [`crate::accounts::Accounts::token`] takes nothing
//! but a [`Permit`], so a call that was not authorised does not compile.

mod denied;
mod rules;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sfkey_proto::AccountName;
use tokio::sync::watch;

use crate::{
    confirm::Yes,
    peer::{FileId, Peer, Seen, Socket},
    settings::Confirm,
};

pub use denied::{Denied, Unconfirmed};
pub use rules::{AccountRule, Rules, TokenSocketRule, require_applicable};

/// Leave to use one account.
#[derive(Debug)]
pub struct Permit {
    account: AccountName,
}

impl Permit {
    /// The account it is for.
    #[must_use]
    pub fn account(&self) -> &AccountName {
        &self.account
    }
}

/// What the rules say to a request that they do not deny.
#[derive(Debug)]
pub enum Verdict {
    /// Yes.
    Permit(Permit),
    /// If the user says so.
    Ask(Question),
}

/// A request that the user decides.
#[derive(Debug)]
pub struct Question {
    account: AccountName,
    confirm: Confirm,
}

impl Question {
    /// The account that it is for.
    #[must_use]
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    /// How often the user wants to be asked.
    #[must_use]
    pub fn confirm(&self) -> Confirm {
        self.confirm
    }

    /// The user said yes.
    #[must_use]
    pub fn allowed(self, _: &Yes) -> Permit {
        Permit {
            account: self.account,
        }
    }
}

/// Leave to change what the agent holds.
#[derive(Debug)]
pub struct Control(());

/// The rules in force, which SIGHUP may tighten.
#[derive(Debug)]
pub struct Policy(watch::Sender<Arc<Rules>>);

impl Policy {
    /// The policy without any settings: the user `owner` may do everything, and nobody else anything.
    #[must_use]
    pub fn new(owner: u32) -> Self {
        Self::of(Rules {
            owner,
            ..Rules::default()
        })
    }

    /// A policy of these rules.
    #[must_use]
    pub fn of(rules: Rules) -> Self {
        Self(watch::Sender::new(Arc::new(rules)))
    }

    /// The rules in force now.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.0.borrow())
    }

    /// Makes the rules as strict as `wanted` where that is stricter, and says in one line each what is not done
    /// because it would allow more.
    pub fn tighten(&self, wanted: &Rules) -> Vec<String> {
        let (tightened, left) = self.rules().tightened(wanted);
        self.0.send_replace(Arc::new(tightened));
        left
    }

    /// Tells when the rules have changed. What was allowed before for longer than a request is to be judged anew.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Rules>> {
        self.0.subscribe()
    }

    /// How often the user wants to be asked about `account`; `None`: never.
    #[must_use]
    pub fn confirm(&self, account: &AccountName) -> Option<Confirm> {
        self.rules().accounts.get(account)?.confirm
    }

    /// Is a connection from `peer` answered at all?
    #[must_use]
    pub fn answers(&self, peer: &Peer) -> bool {
        self.rules().answers(peer)
    }

    /// May `peer` use `account`? Looks at the process only if a rule asks what it is.
    ///
    /// # Errors
    /// [`Denied`], with its reason.
    pub fn permit(&self, peer: &Peer, account: AccountName) -> Result<Verdict, Denied> {
        let rules = self.rules();
        let look = || {
            peer.process()
                .map(|process| process.look(rules.owner))
                .unwrap_or_default()
        };
        rules.permit(peer, account, look, FileId::at)
    }

    /// May `peer` know that there is such an account? Whoever may use it, or may once it runs elsewhere.
    #[must_use]
    pub fn shows(&self, peer: &Peer, account: &AccountName) -> bool {
        self.rules().serves(peer, account)
    }

    /// May `peer` change what the agent holds?
    ///
    /// # Errors
    /// [`Denied`], with its reason.
    pub fn control(&self, peer: &Peer) -> Result<Control, Denied> {
        let rules = self.rules();
        (peer.socket() == Socket::Main && peer.uid() == rules.owner)
            .then_some(Control(()))
            .ok_or(Denied::Peer)
    }

    /// Whoever may send this process a signal may do what the signal stands for: the kernel has checked.
    #[must_use]
    pub fn operator(&self) -> Control {
        Control(())
    }
}

impl Rules {
    /// The user of the main socket; at the restricted one those that are listed, too.
    #[must_use]
    pub fn answers(&self, peer: &Peer) -> bool {
        match (peer.socket(), &self.token_socket) {
            (Socket::Main, _) => peer.uid() == self.owner,
            (Socket::Token, Some(rule)) => {
                peer.uid() == self.owner
                    || rule.uids.contains(&peer.uid())
                    // Root is in every group that it likes, so being in one says nothing.
                    || (peer.uid() != 0 && rule.gids.iter().any(|gid| peer.is_in(*gid)))
            }
            (Socket::Token, None) => false,
        }
    }

    /// Whether `account` is served at the peer's socket.
    fn serves(&self, peer: &Peer, account: &AccountName) -> bool {
        self.answers(peer)
            && match (peer.socket(), &self.token_socket) {
                (Socket::Main, _) => true,
                (Socket::Token, rule) => rule.as_ref().is_some_and(|rule| rule.accounts.contains(account)),
            }
    }

    /// The decision, as a function of the rules, the peer, what is `seen` of its process, and which file a path
    /// of the rules is.
    ///
    /// # Errors
    /// [`Denied`], with its reason.
    pub fn permit(
        &self,
        peer: &Peer,
        account: AccountName,
        seen: impl FnOnce() -> Seen,
        file_at: impl Fn(&Path) -> Option<FileId>,
    ) -> Result<Verdict, Denied> {
        if !self.answers(peer) {
            return Err(Denied::Peer);
        }
        if !self.serves(peer, &account) {
            return Err(Denied::NotListed(account));
        }
        let Some(rule) = self.accounts.get(&account) else {
            return Ok(Verdict::Permit(Permit { account }));
        };
        rule.require(&account, seen, file_at)?;
        match rule.confirm {
            Some(confirm) => Ok(Verdict::Ask(Question { account, confirm })),
            None => Ok(Verdict::Permit(Permit { account })),
        }
    }
}

impl AccountRule {
    /// Requires what is said of the calling process.
    fn require(
        &self,
        account: &AccountName,
        seen: impl FnOnce() -> Seen,
        file_at: impl Fn(&Path) -> Option<FileId>,
    ) -> Result<(), Denied> {
        if self.units.is_none() && self.executables.is_none() {
            return Ok(());
        }
        let (seen, account) = (seen(), account.clone());
        if let Some(units) = &self.units
            && !seen.unit.as_ref().is_some_and(|unit| units.contains(unit))
        {
            return Err(Denied::Unit {
                account,
                seen: seen.unit,
            });
        }
        if let Some(programs) = &self.executables {
            let runs = |program: &PathBuf| {
                let file = seen.executable.as_ref().map(|executable| executable.file);
                file.is_some() && file == file_at(program)
            };
            if !programs.iter().any(runs) {
                let seen = seen.executable.map(|executable| executable.path);
                return Err(Denied::Executable { account, seen });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
