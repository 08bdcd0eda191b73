//! Certificates that end soon, told where people look.

use super::Invocation;
use crate::{
    certificate::{Certificate, Life},
    config::Config,
    output::local_moment,
};

/// Warns of every certificate in the configuration that has ended or is about to. Without one every login
/// fails, and nothing says so before.
pub(super) fn warn(invocation: &Invocation<'_>) {
    let config = match Config::read(&invocation.environment) {
        Ok(config) => config,
        Err(failure) => return invocation.output.warn(&failure.message),
    };
    for (name, entry) in &config.accounts {
        let Some(path) = &entry.certificate else { continue };
        let shown = path.display();
        let told = match Certificate::read(path) {
            Err(why) => format!("the certificate of {name} is not to be had: {shown}: {why}"),
            Ok(certificate) => {
                let end = local_moment(certificate.ends_at(), invocation.now);
                match certificate.life(invocation.now) {
                    Life::Ending => format!("the certificate of {name} expires {end}: {shown}"),
                    Life::Ended => format!("the certificate of {name} expired {end}: {shown}"),
                    Life::Good => continue,
                }
            }
        };
        invocation
            .output
            .warn(&format!("{told}; what to do: sfkey config check {name}"));
    }
}
