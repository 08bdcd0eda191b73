//! Sessions: what stands behind an access token, and when it ends.

use std::collections::HashMap;

use super::knobs::TokenFormat;

/// A session. Times are seconds since 1970 on the simulated clock.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) token: String,
    pub(super) org_id: String,
    pub(super) username: String,
    pub(super) consumer_key: String,
    pub(super) scope: String,
    pub(super) format: TokenFormat,
    pub(super) issued_at: i64,
    /// When the present stretch of the session began: at the grant, or at the activity that extended it last.
    pub(super) extended_at: i64,
    /// Length of a stretch.
    pub(super) timeout: i64,
    /// Which session this is, in the order of their opening.
    pub(super) serial: u64,
}

impl Session {
    /// When the session ends if nothing happens.
    pub(super) fn ends_at(&self) -> i64 {
        self.extended_at.saturating_add(self.timeout)
    }

    fn lives(&self, now: i64) -> bool {
        now < self.ends_at()
    }

    /// Activity at `now`. It extends an opaque session only in the second half of its time: an earlier call leaves
    /// the end where it was, as Salesforce documents it.
    fn touch(&mut self, now: i64) {
        if self.format == TokenFormat::Opaque && now.saturating_sub(self.extended_at) * 2 >= self.timeout {
            self.extended_at = now;
        }
    }
}

/// All sessions, by their tokens.
#[derive(Default)]
pub(super) struct Sessions {
    by_token: HashMap<String, Session>,
    opened: u64,
}

impl Sessions {
    pub(super) fn open(&mut self, session: Session) {
        self.opened += 1;
        let session = Session {
            serial: self.opened,
            ..session
        };
        self.by_token.insert(session.token.clone(), session);
    }

    /// The session of `token`, if it is still alive.
    pub(super) fn live(&self, token: &str, now: i64) -> Option<&Session> {
        self.by_token.get(token).filter(|session| session.lives(now))
    }

    /// The same, and counts as activity.
    pub(super) fn used(&mut self, token: &str, now: i64) -> Option<Session> {
        let session = self
            .by_token
            .get_mut(token)
            .filter(|session| session.lives(now))?;
        session.touch(now);
        Some(session.clone())
    }

    /// The latest live opaque session of this user and app.
    pub(super) fn of(&mut self, username: &str, consumer_key: &str, now: i64) -> Option<&mut Session> {
        let theirs = self.by_token.values_mut().filter(|session| {
            session.format == TokenFormat::Opaque
                && session.username == username
                && session.consumer_key == consumer_key
                && session.lives(now)
        });
        theirs.max_by_key(|session| session.serial)
    }

    /// Ends the session of `token`; false if there was none.
    pub(super) fn revoke(&mut self, token: &str) -> bool {
        self.by_token.remove(token).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.by_token.clear();
    }

    pub(super) fn count(&self, now: i64) -> usize {
        self.by_token
            .values()
            .filter(|session| session.lives(now))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::{Session, Sessions};
    use crate::sim::TokenFormat;

    fn session(format: TokenFormat) -> Session {
        Session {
            token: "t".to_owned(),
            org_id: String::new(),
            username: String::new(),
            consumer_key: String::new(),
            scope: String::new(),
            format,
            issued_at: 1000,
            extended_at: 1000,
            timeout: 100,
            serial: 0,
        }
    }

    #[test]
    fn activity_extends_an_opaque_session_in_its_second_half_only() {
        let mut sessions = Sessions::default();
        sessions.open(session(TokenFormat::Opaque));
        assert_eq!(sessions.used("t", 1049).expect("alive").ends_at(), 1100);
        assert_eq!(sessions.used("t", 1050).expect("alive").ends_at(), 1150);
        assert!(sessions.used("t", 1150).is_none());
    }

    #[test]
    fn activity_never_extends_a_jwt_format_token() {
        let mut sessions = Sessions::default();
        sessions.open(session(TokenFormat::Jwt));
        assert_eq!(sessions.used("t", 1090).expect("alive").ends_at(), 1100);
        assert!(sessions.live("t", 1100).is_none());
    }
}
