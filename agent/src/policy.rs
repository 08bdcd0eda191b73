//! May this peer do this to this account? Pure, and the only place that can say yes.
//!
//! The answer is a value that the next step requires: [`crate::accounts::Accounts::token`] takes nothing
//! but a [`Permit`], so a call that was not authorised does not compile.

use sfkey_proto::{AccountName, Reason};

use crate::peer::Peer;

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

/// Leave to change what the agent holds.
#[derive(Debug)]
pub struct Control(());

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller is another user.
    #[error("this socket answers its own user only")]
    Peer,
}

impl Denied {
    /// The stable reason.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Peer => Reason::PeerDenied,
        }
    }

    /// The next step.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::Peer => "run sfkey as the user that the agent runs as",
        }
    }
}

/// The rules. The agent's own user may do everything, and nobody else anything.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    owner: u32,
}

impl Policy {
    /// Rules for an agent that runs as `owner`.
    #[must_use]
    pub fn new(owner: u32) -> Self {
        Self { owner }
    }

    /// May `peer` use `account`?
    ///
    /// # Errors
    /// [`Denied`], with its reason.
    pub fn permit(&self, peer: &Peer, account: AccountName) -> Result<Permit, Denied> {
        self.owns(peer).then_some(Permit { account }).ok_or(Denied::Peer)
    }

    /// May `peer` change what the agent holds?
    ///
    /// # Errors
    /// [`Denied`], with its reason.
    pub fn control(&self, peer: &Peer) -> Result<Control, Denied> {
        self.owns(peer).then_some(Control(())).ok_or(Denied::Peer)
    }

    /// Whoever may send this process a signal may do what the signal stands for: the kernel has checked.
    #[must_use]
    pub fn operator(&self) -> Control {
        Control(())
    }

    fn owns(&self, peer: &Peer) -> bool {
        peer.uid() == self.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_permitted_and_every_other_user_root_included_is_not() {
        let policy = Policy::new(1000);
        let name = || "prod".parse::<AccountName>().expect("a name");
        let allowed = policy.permit(&Peer::for_test(1000), name()).expect("the owner");
        assert_eq!(allowed.account(), &name());
        assert!(policy.control(&Peer::for_test(1000)).is_ok());
        for other in [0, 999, 1001, u32::MAX] {
            assert_eq!(
                policy.permit(&Peer::for_test(other), name()).err(),
                Some(Denied::Peer)
            );
            assert_eq!(policy.control(&Peer::for_test(other)).err(), Some(Denied::Peer));
        }
    }
}
