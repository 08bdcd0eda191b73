//! What a child must not inherit of the agent.

#![expect(unsafe_code, reason = "a function that runs between fork and exec")]

use std::{os::unix::process::CommandExt, process::Command};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Has `command` run with the soft limit of open descriptors that the agent itself was started with: programs that
/// use select(2) break beyond 1024. Descriptors of the agent are not inherited at all, and that nothing of the agent
/// is dumped cannot be taken back, for the hard limit is down.
pub fn restore_descriptor_limit(command: &mut Command, limit: u64) {
    let restore = move || {
        let limits = Rlimit {
            current: Some(limit),
            ..getrlimit(Resource::Nofile)
        };
        setrlimit(Resource::Nofile, limits).map_err(std::io::Error::from)
    };
    // SAFETY: between fork and exec only what is safe in a signal handler may be called: the closure makes two
    // system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(restore) };
}
