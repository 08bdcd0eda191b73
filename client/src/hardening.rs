//! Keeping secrets out of core dumps and away from debuggers, in the commands that hold keys or passphrases.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// The limit of core dumps as this process was given it. Unlike the dumpable flag it survives execve(2).
pub(crate) struct CoreLimit(Rlimit);

impl CoreLimit {
    /// The limit as it is now.
    pub(crate) fn current() -> Self {
        Self(getrlimit(Resource::Core))
    }

    /// Sets it back, for the program that this process is about to become.
    pub(crate) fn restore(self) {
        // Raising a soft limit up to the untouched hard limit is always allowed.
        let _raised = setrlimit(Resource::Core, self.0);
    }
}

/// From here on the process cannot be traced by its own user, and leaves no core dump. Core handlers that
/// read from a pipe ignore the limit and honour the flag, so both are needed.
pub(crate) fn harden() {
    let given = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        maximum: given.maximum,
    };
    // Neither can fail for these values; a kernel that refuses both leaves nothing better to do.
    let _undumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _no_core = setrlimit(Resource::Core, none);
}
