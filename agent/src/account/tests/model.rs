//! The account's state machine against a model that is simple enough to be believed: random callers, answers,
//! faults, locks, reports and jumps of the clocks.

use proptest::prelude::*;

use crate::{
    account::life::{Ask, Decision, Kind, Life, Report},
    clock::Now,
    error::Failure,
    salesforce::{Grant, Introspection},
    token::{self, Need, Validity},
};
use std::time::Duration;

use super::{START, grant};

#[derive(Clone, Debug)]
enum Step {
    Get { min_valid: u32, fresh: bool },
    Report,
    Granted { new: bool, told: Option<u32> },
    Extended { by: u32 },
    Failed { lasting: bool },
    Lock,
    Pass { seconds: u32 },
    WallJump { seconds: i32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop_oneof![Just(60), 0..10_000_u32], prop::bool::weighted(0.2)).prop_map(|(min_valid, fresh)| Step::Get { min_valid, fresh }),
        1 => Just(Step::Report),
        3 => (any::<bool>(), prop::option::of(1..20_000_u32)).prop_map(|(new, told)| Step::Granted { new, told }),
        1 => (0..8000_u32).prop_map(|by| Step::Extended { by }),
        2 => any::<bool>().prop_map(|lasting| Step::Failed { lasting }),
        1 => Just(Step::Lock),
        4 => prop_oneof![0..40_u32, 0..2000_u32].prop_map(|seconds| Step::Pass { seconds }),
        1 => (-4000..4000_i32).prop_map(|seconds| Step::WallJump { seconds }),
    ]
}

/// The token held, and nothing clever.
#[derive(Clone, Copy)]
struct ModelToken {
    number: u32,
    /// Wall and boot time at which it ends, by the two clocks.
    ends_wall: i64,
    ends_boot: u64,
    life: i64,
}

#[derive(Default)]
struct Model {
    token: Option<ModelToken>,
    asked: Option<u64>,
    verified: Option<u64>,
    failed_until: Option<u64>,
    failures: u32,
}

struct Run {
    life: Life,
    model: Model,
    now: Now,
    in_flight: bool,
    numbers: u32,
}

impl Run {
    fn left(&self) -> Option<i64> {
        let token = self.model.token?;
        let boot =
            i64::try_from(token.ends_boot).expect("small") - i64::try_from(self.boot()).expect("small");
        Some(boot.min(token.ends_wall - self.now.unix))
    }

    fn boot(&self) -> u64 {
        self.now.boot.as_secs()
    }

    fn live(&self) -> bool {
        self.left().is_some_and(|left| left > 0)
    }

    fn lately(&self, at: Option<u64>) -> bool {
        at.is_some_and(|at| self.boot() - at < 30)
    }

    fn held_off(&self) -> bool {
        self.model.failed_until.is_some_and(|until| self.boot() < until)
    }

    fn ask(&mut self) {
        self.in_flight = true;
        self.life.asking(self.now);
        self.model.asked = Some(self.boot());
    }

    fn get(&mut self, min_valid: u32, fresh: bool) -> Result<(), TestCaseError> {
        let need = Need::new(Some(min_valid), fresh);
        let decision = self.life.decide(need, self.now, self.in_flight);
        let life = self.model.token.map_or(0, |token| token.life);
        let needed = i64::from(min_valid).min(life / 4 * 3);
        let good = self.live() && self.left() >= Some(needed) && !fresh;
        match decision {
            Decision::Serve(_) => {
                prop_assert!(self.live(), "a dead token was served");
                // Only what is good, or what cannot be bettered now.
                let limited = self.lately(self.model.asked) || self.held_off() || !fresh;
                prop_assert!(good || limited);
                self.life.used(i64::from(min_valid), self.now);
            }
            Decision::Join => prop_assert!(self.in_flight && !good),
            Decision::Ask(ask) => {
                prop_assert!(!self.in_flight && !good);
                prop_assert!(
                    !(self.live() && self.lately(self.model.asked)),
                    "two within thirty seconds"
                );
                prop_assert!(!self.held_off() || (fresh && !self.lately(self.model.asked)));
                prop_assert!(self.live() || ask == Ask::Mint);
                self.ask();
            }
            Decision::Refuse(..) => prop_assert!(!self.live() && self.held_off()),
        }
        Ok(())
    }

    fn report(&mut self) -> Result<(), TestCaseError> {
        let Some(token) = self.model.token else {
            return Ok(());
        };
        let hash = token::hash(&token.number.to_string());
        match self.life.rejected(&hash, self.now, self.in_flight) {
            Report::Outdated => prop_assert!(!self.live()),
            Report::Join => prop_assert!(self.in_flight),
            Report::NotTheSession => prop_assert!(self.lately(self.model.verified)),
            Report::Refuse(..) => prop_assert!(self.held_off()),
            Report::Verify => {
                prop_assert!(self.live() && !self.lately(self.model.verified) && !self.held_off());
                self.life.verifying(self.now);
                self.model.verified = Some(self.boot());
                self.ask();
            }
        }
        Ok(())
    }

    fn granted(&mut self, new: bool, told: Option<u32>) {
        if !std::mem::take(&mut self.in_flight) {
            return;
        }
        let before = self.model.token;
        if new || before.is_none() {
            self.numbers += 1;
        }
        let number = before.filter(|_| !new).map_or(self.numbers, |token| token.number);
        let answer: Grant = grant(&number.to_string(), told).expect("a grant");
        let validity = Validity::of(&answer, None, Some(900), self.now, self.now.unix);
        self.life
            .granted(token::hash(&number.to_string()), validity, None, self.now, 0.5);
        // The same token keeps its end unless the answer tells another.
        let kept = !new && self.live() && told.is_none();
        if !kept {
            self.hold(number, i64::from(told.unwrap_or(900)));
        }
        self.succeed();
    }

    fn hold(&mut self, number: u32, life: i64) {
        self.model.token = Some(ModelToken {
            number,
            ends_wall: self.now.unix + life,
            ends_boot: self.boot() + u64::try_from(life).expect("positive"),
            life,
        });
    }

    fn extended(&mut self, by: u32) {
        if let (true, Some(token)) = (self.in_flight, self.model.token) {
            let told = Introspection {
                active: true,
                issued_at: None,
                expires_at: Some(self.now.unix + i64::from(by)),
            };
            self.in_flight = false;
            self.life.extended(&told, self.now, self.now.unix, 0.5);
            self.hold(token.number, i64::from(by));
            self.succeed();
        }
    }

    fn succeed(&mut self) {
        self.model.failed_until = None;
        self.model.failures = 0;
    }

    fn failed(&mut self, lasting: bool) {
        if !std::mem::take(&mut self.in_flight) {
            return;
        }
        let kind = if lasting { Kind::Lasting } else { Kind::Passing };
        self.life.failed(Failure::Internal("a test"), kind, self.now, 0.0);
        let pause = match (lasting, self.model.failures) {
            (true, failures) => (5_u64 << failures.min(16)).min(3600),
            (false, 0) => 0,
            (false, failures) => (2_u64 << (failures - 1).min(16)).min(120),
        };
        self.model.failures += 1;
        self.model.failed_until = Some(self.boot() + pause);
    }

    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Get { min_valid, fresh } => self.get(*min_valid, *fresh)?,
            Step::Report => self.report()?,
            Step::Granted { new, told } => self.granted(*new, *told),
            Step::Extended { by } => self.extended(*by),
            Step::Failed { lasting } => self.failed(*lasting),
            Step::Lock => {
                self.life.evict();
                self.model.token = None;
                self.in_flight = false;
            }
            Step::Pass { seconds } => {
                self.now.unix += i64::from(*seconds);
                self.now.boot += Duration::from_secs((*seconds).into());
            }
            Step::WallJump { seconds } => self.now.unix += i64::from(*seconds),
        }
        prop_assert_eq!(self.life.is_live(self.now), self.live());
        // A timer that fires at once must have something to do, or the task would spin.
        if !self.in_flight
            && self
                .life
                .renew_at(self.now, true)
                .is_some_and(|at| at <= self.now.boot)
        {
            prop_assert!(self.life.renewal(self.now, true).is_some());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_sequence_of_events_serves_a_dead_token_or_asks_too_often(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run {
            life: Life::default(),
            model: Model::default(),
            now: Now { unix: START, boot: Duration::from_secs(10_000) },
            in_flight: false,
            numbers: 0,
        };
        for step in &steps {
            run.apply(step)?;
        }
    }
}
