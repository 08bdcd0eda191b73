//! Another process of the same user, which may connect but not look inside.

use std::{
    fs::{self, File},
    io::{self, IoSliceMut},
    os::unix::{fs::FileExt, process::CommandExt},
    process::Command,
};

use nix::{
    sys::{
        ptrace,
        uio::{RemoteIoVec, process_vm_readv},
    },
    unistd,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use sfkey_tests::support::{
    Agent, Home, Launch,
    stranger::{UID, act, copy_of, is_possible, skipped},
};

/// Every way to look into a process, and whether the kernel allowed it.
fn attempts(pid: i32) -> Vec<(&'static str, bool)> {
    let id = Pid::from_raw(pid).expect("a process id");
    let target = unistd::Pid::from_raw(pid);
    let descriptor = pidfd_open(id, PidfdFlags::empty()).expect("it is running");
    let first = || -> io::Result<u8> {
        let mut byte = [0];
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let start = maps.split('-').next().unwrap_or_default();
        let start = u64::from_str_radix(start, 16).map_err(io::Error::other)?;
        File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut byte, start)?;
        Ok(byte[0])
    };
    let copied = || {
        let mut byte = [0];
        // Nothing is mapped there: whoever may look is told EFAULT.
        let nowhere = RemoteIoVec { base: 8, len: 1 };
        process_vm_readv(target, &mut [IoSliceMut::new(&mut byte)], &[nowhere])
    };
    let opened = |name: &str| File::open(format!("/proc/{pid}/{name}")).is_ok();
    vec![
        ("ptrace", ptrace::seize(target, ptrace::Options::empty()).is_ok()),
        ("/proc/PID/mem", first().is_ok()),
        ("/proc/PID/mem, opened", opened("mem")),
        (
            "/proc/PID/environ",
            fs::read(format!("/proc/{pid}/environ")).is_ok(),
        ),
        ("/proc/PID/fd", fs::read_dir(format!("/proc/{pid}/fd")).is_ok()),
        ("process_vm_readv", copied() != Err(nix::Error::EPERM)),
        (
            "pidfd_getfd",
            pidfd_getfd(&descriptor, 0, PidfdGetfdFlags::empty()).is_ok(),
        ),
    ]
}

fn attempts_of_the_user(pid: u32) -> Vec<(&'static str, bool)> {
    let pid = i32::try_from(pid).expect("process ids are small");
    act(move || attempts(pid))
}

#[test]
fn a_process_of_the_same_user_cannot_look_into_the_agent() {
    const TEST: &str = "a_process_of_the_same_user_cannot_look_into_the_agent";
    if !is_possible(TEST) {
        return;
    }
    let mut ordinary = Command::new("/bin/sleep")
        .arg("600")
        .uid(UID)
        .gid(UID)
        .spawn()
        .expect("sleep is there");
    let allowed = attempts_of_the_user(ordinary.id());
    ordinary.kill().expect("it is a child of this process");
    ordinary.wait().expect("it ends");
    let programs = tempfile::tempdir().expect("a directory");
    let program = copy_of("sfkey-agent", programs.path());
    let home = Home::of_user(UID);
    let agent = Agent::start(&home, &Launch::default().as_user(UID, program));
    for (way, allowed) in attempts_of_the_user(agent.pid()) {
        assert!(!allowed, "{way}");
    }
    let closed: Vec<_> = allowed.iter().filter(|(_, allowed)| !allowed).collect();
    if !closed.is_empty() {
        skipped(
            TEST,
            &format!("this machine refuses {closed:?} to everybody: proves little"),
        );
    }
}
