//! A simulator, an agent that trusts it, and an account that is loaded.

use std::ffi::OsString;

use sfkey_proto::v1::AccountSpec;

use super::{
    agent::{Agent, Launch},
    calls::Calls,
    command::Sfkey,
    home::Home,
    keys::TestKey,
};
use crate::sim::{Config, Simulator, User};

/// Name of the account that a stage begins with.
pub const ACCOUNT: &str = "prod";

/// Everything that a test of the whole needs. The fields end in this order.
#[derive(Debug)]
pub struct Stage {
    /// The agent.
    pub agent: Agent,
    /// Salesforce.
    pub sim: Simulator,
    /// Where both programs live.
    pub home: Home,
}

/// How a stage is set up. The default has nothing special about it.
#[derive(Debug)]
pub struct StageSetup {
    config: Config,
    launch: Launch,
    home: Home,
}

impl Default for StageSetup {
    fn default() -> Self {
        Self {
            config: Config::with_key(TestKey::of_app().app_key()),
            launch: Launch::default(),
            home: Home::new(),
        }
    }
}

impl StageSetup {
    /// With the simulator's configuration changed.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// With these arguments of the agent.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.launch = self.launch.arguments(arguments);
        self
    }

    /// With the agent's start changed.
    #[must_use]
    pub fn launch(mut self, change: impl FnOnce(Launch) -> Launch) -> Self {
        self.launch = change(self.launch);
        self
    }

    /// In this place.
    #[must_use]
    pub fn home(mut self, home: Home) -> Self {
        self.home = home;
        self
    }

    /// Starts simulator and agent. No account is loaded.
    #[must_use]
    pub fn empty(self) -> Stage {
        let sim = Simulator::start_blocking(self.config).expect("the simulator starts");
        let ca_file = self.home.write("ca.pem", sim.ca_pem());
        super::home::set_mode(&ca_file, 0o644);
        let agent = Agent::start(&self.home, &self.launch.trusting(ca_file));
        Stage {
            agent,
            sim,
            home: self.home,
        }
    }

    /// Starts both and loads the account [`ACCOUNT`]; no token is fetched.
    pub async fn ready(self) -> Stage {
        let stage = self.empty();
        let calls = stage.calls().await;
        calls
            .add(&stage.spec(ACCOUNT))
            .await
            .expect("the account is loaded");
        stage
    }
}

impl Stage {
    /// One with nothing special about it, and the account [`ACCOUNT`].
    pub async fn new() -> Self {
        StageSetup::default().ready().await
    }

    /// One without an account.
    #[must_use]
    pub fn empty() -> Self {
        StageSetup::default().empty()
    }

    /// A new connection to the agent.
    pub async fn calls(&self) -> Calls {
        Calls::to(&self.home.socket()).await
    }

    /// The account `name` of the simulator's first app and user, asked for by hand.
    #[must_use]
    pub fn spec(&self, name: &str) -> AccountSpec {
        let mut spec = AccountSpec::default();
        spec.account = name.to_owned();
        spec.login_url = self.sim.url();
        spec.consumer_key = self.sim.app(0).consumer_key;
        spec.username = self.sim.user(0).username;
        spec.private_key = TestKey::of_app().pkcs1_der().to_vec();
        spec.explicit = true;
        spec
    }

    /// Another user of the simulator's org, and an account `name` of its own.
    #[must_use]
    pub fn spec_of_new_user(&self, name: &str) -> AccountSpec {
        let username = format!("{name}@acme.example");
        self.sim.add_user(User {
            username: username.clone(),
            ..User::default()
        });
        let mut spec = self.spec(name);
        spec.username = username;
        spec
    }

    /// `sfkey ARGUMENTS` in this place.
    #[must_use]
    pub fn sfkey<A: Into<OsString>>(&self, arguments: impl IntoIterator<Item = A>) -> Sfkey {
        Sfkey::new(&self.home, arguments)
    }
}
