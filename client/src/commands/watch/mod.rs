//! `sfkey watch`: follow an account, and hand on each token as it is renewed.
//!
//! ```text
//! agent ─ follow (connects again by itself) ─▶ token ─ delivery ─▶ standard output, or a file
//!                                                            └──▶ hook: a command, one run at a time
//! ```

mod delivery;
mod hook;
mod pause;
mod stop;

use sfkey::{
    Error, Watch,
    proto::{Reason, v1::Token},
};

use self::{delivery::Delivery, hook::Hook, pause::Pause, stop::Stop};
use super::{
    Invocation,
    load::{self, Prompting},
    token,
};
use crate::{cli::WatchArgs, exit::Failure, hardening::CoreLimit, output::Output};

pub(super) async fn run(invocation: &Invocation<'_>, args: WatchArgs) -> Result<(), Failure> {
    let form = token::format(args.output, invocation.output.is_json())?;
    let printing = args.file.is_none() && args.exec.is_none();
    if printing && !args.show && Output::is_terminal() {
        return Err(token::would_stay_on_the_screen("sfkey watch NAME --file PATH"));
    }
    let (tokens, hook) = Hook::new(args.exec, args.file.as_deref(), invocation.output);
    let mut follower = Follower {
        invocation,
        account: invocation.account(args.name.as_ref())?,
        may_load: !args.no_load,
        delivery: Delivery::new(invocation.output, form, args.file, printing, tokens),
        pause: Pause::default(),
        told: String::new(),
    };
    // Loading on demand forbids core dumps to this process; the command is to have what the user set.
    let core_limit = CoreLimit::current();
    let begun = follower.begin().await?;
    core_limit.restore();
    invocation.output.stream();
    // Until here Ctrl-C ends the process as it ends any other; from here on there may be a command to wait for.
    let stop = Stop::listen(printing)?;
    until_stopped(follower, begun, hook, stop).await
}

async fn until_stopped(
    mut follower: Follower<'_>,
    begun: (Watch, Token),
    mut hook: Hook<'_>,
    mut stop: Stop,
) -> Result<(), Failure> {
    let ended = tokio::select! {
        biased;
        stopped = stop.requested() => stopped,
        failure = follower.follow(begun) => Err(failure),
        failure = hook.run() => Err(failure),
    };
    hook.finish(stop.signal()).await;
    ended
}

/// Why a connection delivers no more.
enum Ended {
    /// The agent has ended, or has no more to send.
    Connection(Failure),
    /// The agent refused.
    Refused(Reason, Failure),
    /// The account could not be loaded again.
    Loading(Failure),
    /// A token could not be handed on.
    Delivery(Failure),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::Refused(refusal.reason, refusal.into()),
            other => Self::Connection(other.into()),
        }
    }
}

impl Ended {
    /// Whether it may be otherwise in a while, without anybody doing anything to this process.
    fn may_pass(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Loading(_) => true,
            Self::Delivery(_) => false,
            Self::Refused(reason, _) => !matches!(
                reason,
                Reason::Removed
                    | Reason::PeerDenied
                    | Reason::PolicyDenied
                    | Reason::ConfirmDenied
                    | Reason::Invalid
                    | Reason::Unimplemented
            ),
        }
    }

    fn into_failure(self) -> Failure {
        match self {
            Self::Connection(failure)
            | Self::Refused(_, failure)
            | Self::Loading(failure)
            | Self::Delivery(failure) => failure,
        }
    }
}

/// Follows one account over any number of connections.
struct Follower<'a> {
    invocation: &'a Invocation<'a>,
    account: String,
    may_load: bool,
    delivery: Delivery<'a>,
    pause: Pause,
    /// What was last told of a connection that ended; empty while tokens come.
    told: String,
}

impl Follower<'_> {
    /// The first connection and the first token. Whoever starts a watch is told at once what is in its way.
    async fn begin(&mut self) -> Result<(Watch, Token), Failure> {
        self.connect(Prompting::Allowed)
            .await
            .map_err(Ended::into_failure)
    }

    /// Hands tokens on, for ever. Returns what nobody can wait out.
    async fn follow(&mut self, begun: (Watch, Token)) -> Failure {
        let mut connected = Ok(begun);
        loop {
            let ended = match connected {
                Ok((watch, token)) => self.hand_on(watch, token).await,
                Err(ended) => ended,
            };
            if !ended.may_pass() {
                return ended.into_failure();
            }
            self.tell(&ended.into_failure());
            self.pause.wait().await;
            connected = self.connect(Prompting::Never).await;
        }
    }

    /// Connects and waits for the token that every stream begins with.
    async fn connect(&mut self, prompting: Prompting) -> Result<(Watch, Token), Ended> {
        let agent = self.invocation.connect().await.map_err(Ended::Connection)?;
        let refusal = match first(agent.watch(&self.account).await).await {
            Err(Error::Refused(refusal)) if self.may_load && load::is_missing(&refusal) => refusal,
            answer => return Ok(answer?),
        };
        let loaded = load::on_demand(self.invocation, &agent, &self.account, refusal, prompting).await;
        let (agent, name) = loaded.map_err(Ended::Loading)?;
        Ok(first(agent.watch(name.as_str()).await).await?)
    }

    async fn hand_on(&mut self, mut watch: Watch, token: Token) -> Ended {
        let mut next = token;
        loop {
            if !std::mem::take(&mut self.told).is_empty() {
                self.invocation.output.tell("tokens come again");
            }
            self.pause.reset();
            if let Err(failure) = self.delivery.deliver(next) {
                return Ended::Delivery(failure);
            }
            next = match watch.next().await {
                Ok(Some(token)) => token,
                Ok(None) => return Ended::Connection(no_more()),
                Err(error) => return error.into(),
            };
        }
    }

    /// Tells why no token comes, once for each reason and not at each try.
    fn tell(&mut self, failure: &Failure) {
        if self.told != failure.message {
            let fix = match failure.fix.as_str() {
                "" => String::new(),
                fix => format!(" (try: {fix})"),
            };
            self.invocation
                .output
                .warn(&format!("{}{fix}; sfkey goes on trying", failure.message));
            self.told.clone_from(&failure.message);
        }
    }
}

/// The stream with its first token. An account that is not there may be told by the call or by the stream.
async fn first(watch: Result<Watch, Error>) -> Result<(Watch, Token), Error> {
    let mut watch = watch?;
    match watch.next().await? {
        Some(token) => Ok((watch, token)),
        None => Err(Error::Malformed("the stream ended without a token")),
    }
}

fn no_more() -> Failure {
    Failure::new(
        crate::exit::Cause::NoAgent,
        "the agent ended the stream",
        "see whether it still runs: sfkey status",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_waited_out_and_the_rest_ends_the_watch() {
        let refused = |reason: Reason| {
            let refusal = sfkey::proto::Refusal::new(reason, "x", "y");
            Ended::from(Error::Refused(refusal)).may_pass()
        };
        let lasting = [
            Reason::Removed,
            Reason::PeerDenied,
            Reason::PolicyDenied,
            Reason::ConfirmDenied,
            Reason::Invalid,
            Reason::Unimplemented,
        ];
        for reason in Reason::ALL {
            assert_eq!(refused(*reason), !lasting.contains(reason), "{reason:?}");
        }
        assert!(Ended::from(Error::NoPlace).may_pass());
        assert!(!Ended::Delivery(no_more()).may_pass());
    }
}
