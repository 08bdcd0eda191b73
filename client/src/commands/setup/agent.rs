//! The agent that is to hold the key; one is started where none runs and the user wants it.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use sfkey::Client;

use super::Walk;
use crate::exit::{Failure, words};

const AGENT: &str = "sfkey-agent";

impl Walk<'_> {
    /// Connects to the agent; when none runs, offers to start one, or waits until the user has done so.
    pub(super) async fn agent(&self) -> Result<Client, Failure> {
        loop {
            let unreachable = match self.invocation.connect_trusted().await {
                Ok(agent) => return Ok(agent),
                Err(failure) if !failure.is_without_agent() => return Err(failure),
                Err(failure) => failure,
            };
            let Some(interview) = &self.interview else {
                return Err(unreachable);
            };
            interview.say(&format!("\n{}", unreachable.message_with_raw_text()));
            interview.say("The agent holds the key and asks Salesforce.");
            if interview.yes("Start one now, which stays (sfkey-agent --daemon)", true)? {
                match self.start_agent() {
                    Ok(()) => {
                        interview.say("It runs. For the shells to come, put into their start-up file:");
                        interview.verbatim("  eval \"$(sfkey-agent --daemon)\"");
                        continue;
                    }
                    Err(why) => interview.say(&format!("  It did not start: {why}")),
                }
            }
            interview.enter("Start it in another terminal, then press Enter: ")?;
        }
    }

    /// Starts the agent that came with this program, and returns when it serves; else why it does not.
    fn start_agent(&self) -> Result<(), String> {
        let beside = env::current_exe().map(|own| own.with_file_name(AGENT));
        let program = beside
            .ok()
            .filter(|path| path.is_file())
            .unwrap_or_else(|| PathBuf::from(AGENT));
        let mut command = Command::new(program);
        command.arg("--daemon").stdin(Stdio::null());
        if let Some(socket) = &self.invocation.socket {
            command.arg("--socket").arg(socket);
        }
        let done = command.output().map_err(|error| words(&error))?;
        if done.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&done.stderr);
        Err(told.lines().next().unwrap_or("it says nothing").to_owned())
    }
}
