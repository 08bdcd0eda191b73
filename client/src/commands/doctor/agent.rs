//! Is there an agent, is it the right one, and may a secret be sent to it?

use sfkey::{
    Client, Error,
    proto::{
        PROTOCOL_VERSION,
        v1::{GetStatusResponse, MemoryProtection},
    },
};

use super::{Found, Report};
use crate::{commands::Invocation, exit::Failure, output::Finding};

/// Version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn check(
    invocation: &Invocation<'_>,
    report: &mut Report<'_>,
) -> Result<Option<Found>, Failure> {
    let client = match invocation.connect().await {
        Ok(client) => client,
        Err(failure) => {
            report.fail("agent", &failure)?;
            return Ok(None);
        }
    };
    let status = match client.status().await {
        Ok(status) => status,
        Err(Error::NotServed { .. }) => {
            report.add(restricted(&client))?;
            return Ok(None);
        }
        Err(error) => {
            report.fail("agent", &error.into())?;
            return Ok(None);
        }
    };
    report.add(Finding::ok(
        "agent",
        format!(
            "sfkey-agent, pid {}, at {}",
            status.pid,
            client.socket().display()
        ),
    ))?;
    report.add(version(&status))?;
    report.add(socket(&client))?;
    report.add(memory(&status))?;
    let mut serves = status.protocol_version == PROTOCOL_VERSION;
    if status.locked {
        report.add(Finding::failed(
            "lock",
            "the agent is locked: no key can be used",
            "sfkey unlock",
        ))?;
        serves = false;
    }
    let accounts = match serves {
        true => client.accounts().await?,
        false => Vec::new(),
    };
    Ok(Some(Found {
        client,
        serves,
        accounts,
    }))
}

fn restricted(client: &Client) -> Finding {
    Finding::warning(
        "agent",
        format!(
            "{} is a restricted socket: it serves tokens, and checks nothing",
            client.socket().display()
        ),
        "run sfkey doctor where the agent runs, on its main socket",
    )
}

fn version(status: &GetStatusResponse) -> Finding {
    let (agent, protocol) = (&status.version, status.protocol_version);
    let fix = "install sfkey and sfkey-agent of the same version, then start the agent anew: sfkey stop";
    if protocol != PROTOCOL_VERSION {
        let detail =
            format!("the agent speaks protocol {protocol}, and sfkey {VERSION} speaks {PROTOCOL_VERSION}");
        Finding::failed("version", detail, fix)
    } else if agent != VERSION {
        Finding::warning(
            "version",
            format!("the agent is {agent}, and sfkey is {VERSION}"),
            fix,
        )
    } else {
        Finding::ok("version", format!("both are {VERSION}, protocol {protocol}"))
    }
}

fn socket(client: &Client) -> Finding {
    match client.require_trust() {
        Ok(()) => Finding::ok("socket", "it and the way to it belong to you alone, or to root"),
        Err(error) => {
            let failure = Failure::from(error);
            Finding::failed("socket", failure.message, failure.fix)
        }
    }
}

fn memory(status: &GetStatusResponse) -> Finding {
    let traced = if status.dumpable {
        "; it may be traced and dumped"
    } else {
        ""
    };
    match status.memory_protection() {
        MemoryProtection::MemfdSecret if status.dumpable => Finding::warning(
            "memory",
            "the agent may be traced and dumped by every process of yours",
            "start the agent anew: sfkey stop, then sfkey-agent; its log says what was refused",
        ),
        MemoryProtection::MemfdSecret => {
            Finding::ok("memory", "memfd_secret: unreadable even for root, never swapped")
        }
        MemoryProtection::Mlock => Finding::warning(
            "memory",
            format!("mlock: never swapped, but root can read it{traced}"),
            "a kernel with memfd_secret: Linux 6.5 or later, or secretmem.enable=1 on its command line",
        ),
        MemoryProtection::None | MemoryProtection::Unspecified => Finding::failed(
            "memory",
            format!("the master secret is not protected: it can be swapped out{traced}"),
            "raise the limit of locked memory for the agent (ulimit -l 1024, LimitMEMLOCK=), and start it anew",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Standing;

    fn status(version: &str, protocol_version: u32) -> GetStatusResponse {
        GetStatusResponse {
            version: version.to_owned(),
            protocol_version,
            ..GetStatusResponse::default()
        }
    }

    #[test]
    fn another_version_is_a_warning_and_another_protocol_a_failure() {
        assert_eq!(version(&status(VERSION, PROTOCOL_VERSION)).status, Standing::Ok);
        assert_eq!(
            version(&status("0.0.1", PROTOCOL_VERSION)).status,
            Standing::Warning
        );
        assert_eq!(
            version(&status(VERSION, PROTOCOL_VERSION + 1)).status,
            Standing::Failed
        );
    }

    #[test]
    fn less_than_the_best_protection_is_never_silent() {
        let with = |level: MemoryProtection, dumpable: bool| {
            let mut status = status(VERSION, PROTOCOL_VERSION);
            status.set_memory_protection(level);
            status.dumpable = dumpable;
            memory(&status).status
        };
        assert_eq!(with(MemoryProtection::MemfdSecret, false), Standing::Ok);
        assert_eq!(with(MemoryProtection::MemfdSecret, true), Standing::Warning);
        assert_eq!(with(MemoryProtection::Mlock, false), Standing::Warning);
        assert_eq!(with(MemoryProtection::None, false), Standing::Failed);
    }
}
