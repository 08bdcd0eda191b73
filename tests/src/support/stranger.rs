//! Another user. Only root can play one; elsewhere such a test says that it did not run.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    process::geteuid,
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::{binaries, home::set_mode};

/// A user id that no user has.
pub const UID: u32 = 61_923;

/// Whether this process may become somebody else. If not, says that `test` was skipped, on standard error
/// and in the file that `SFKEY_SKIPS` names.
#[must_use]
pub fn is_possible(test: &str) -> bool {
    if geteuid().is_root() {
        return true;
    }
    skipped(test, "only root can become another user");
    false
}

/// Tells that a test did not run, and why.
pub fn skipped(test: &str, why: &str) {
    let line = format!("skipped: {test}: {why}\n");
    io::stderr()
        .write_all(line.as_bytes())
        .expect("standard error is open");
    if let Some(list) = env::var_os("SFKEY_SKIPS") {
        let file = fs::OpenOptions::new().append(true).create(true).open(list);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the list of skips can be written to");
    }
}

/// Runs `act` as the user [`UID`], on a thread of its own: the kernel keeps credentials by thread, and a
/// socket tells those of the thread that connected it.
pub fn act<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    act_as(UID, &[], act)
}

/// The same as the user `uid`, whose own group has the same number, and as a member of `groups`.
pub fn act_as<R: Send + 'static>(uid: u32, groups: &[u32], act: impl FnOnce() -> R + Send + 'static) -> R {
    let groups: Vec<_> = groups.iter().copied().map(rustix::fs::Gid::from_raw).collect();
    let thread = std::thread::spawn(move || {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(uid));
        set_thread_groups(&groups).expect("root may leave its groups");
        set_thread_res_gid(gid, gid, gid).expect("root may change its group");
        set_thread_res_uid(uid, uid, uid).expect("root may become anybody");
        act()
    });
    thread.join().expect("the stranger's thread ends well")
}

/// Runs `act` as that user, in a runtime that its thread has to itself.
pub fn act_as_in_runtime<R: Send + 'static, F: Future<Output = R>>(
    uid: u32,
    groups: &[u32],
    act: impl FnOnce() -> F + Send + 'static,
) -> R {
    act_as(uid, groups, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(act())
    })
}

/// A copy of the built program `name` below `directory` that everybody may run: the directory that cargo
/// builds in may be closed to others.
#[must_use]
pub fn copy_of(name: &str, directory: &Path) -> PathBuf {
    let copy = directory.join(name);
    // Written by another process: a file that this one has open for writing is inherited by every child that
    // another test starts at that moment, and cannot be executed until that child has become its own program.
    let copied = Command::new("install")
        .args(["-m", "755"])
        .arg(binaries::built(name))
        .arg(&copy)
        .status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "{} is not copied",
        copy.display()
    );
    set_mode(directory, 0o755);
    copy
}
