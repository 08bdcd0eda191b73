//! Keeps other processes and the disk away from this one's memory. The first lines of `main`.

use std::io;

use crate::custody::descriptors;

/// Descriptors wanted: the connection table and the exchanges.
const DESCRIPTORS: u64 = 8_192;

/// What was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardening {
    /// Whether the process may still be dumped, and traced by its own user.
    pub dumpable: bool,
    /// Limit of core dumps in bytes.
    pub core_limit: u64,
    /// Limit of open descriptors.
    pub descriptors: u64,
    /// What it was before it was raised: children get it back.
    pub descriptors_before: u64,
}

/// Takes away dumps, tracing by the same user, new privileges and inherited descriptors, but for the first `passed`
/// of those; and raises the limit of descriptors. To be called before anything is opened.
///
/// # Errors
/// When the kernel refuses one of the first four, which it never does to an ordinary process.
pub fn harden(passed: u32) -> io::Result<Hardening> {
    forbid_dumps()?;
    descriptors::close_inherited(passed)?;
    let descriptors_before = descriptor_limit();
    let descriptors = raise_descriptors();
    Ok(Hardening {
        dumpable: is_dumpable(),
        core_limit: core_limit(),
        descriptors,
        descriptors_before,
    })
}

#[cfg(target_os = "linux")]
fn forbid_dumps() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // A core handler behind a pipe ignores the limit, and a debugger ignores dumpable: both are set.
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn forbid_dumps() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn is_dumpable() -> bool {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    !matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
}

#[cfg(not(target_os = "linux"))]
fn is_dumpable() -> bool {
    true
}

fn core_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Core)
        .current
        .unwrap_or(u64::MAX)
}

fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}

/// Raises the soft limit as far as the hard one allows; what is not granted makes the table smaller.
fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(DESCRIPTORS);
    if current >= wanted {
        return current;
    }
    match setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        },
    ) {
        Ok(()) => wanted,
        Err(_) => current,
    }
}

/// Whether the machine swaps: what is not in a protected page may then reach the disk.
#[must_use]
pub fn swap_in_use() -> bool {
    // The first line is a heading; where the file is missing there is no swap to be known of.
    std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().nth(1).is_some())
}
