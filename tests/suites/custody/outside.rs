//! Another process of the same user, which may connect but not look inside.

use std::{
    fs::{self, File},
    io::{self, IoSliceMut, Write as _},
    os::unix::{
        fs::{FileExt, chown},
        process::CommandExt,
    },
    process::Command,
};

use nix::{
    sys::{
        ptrace,
        uio::{RemoteIoVec, process_vm_readv},
    },
    unistd,
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    io::ioctl_fionread,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use sfkey_tests::support::{
    Agent, Home, Launch, Sfkey,
    stopwatch::eventually,
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

/// What the kernel allows a process of the user to do with an ordinary program of the user, so that a refusal tells
/// something.
fn attempts_at_an_ordinary_program() -> Vec<(&'static str, bool)> {
    let mut ordinary = Command::new("/bin/sleep")
        .arg("600")
        .uid(UID)
        .gid(UID)
        .spawn()
        .expect("sleep is there");
    let allowed = attempts_of_the_user(ordinary.id());
    ordinary.kill().expect("it is a child of this process");
    ordinary.wait().expect("it ends");
    allowed
}

/// Requires that the user cannot look into a process in any way; `test` proves little where nobody ever can.
fn assert_closed(test: &str, pid: u32) {
    for (way, allowed) in attempts_of_the_user(pid) {
        assert!(!allowed, "{way}");
    }
    let allowed = attempts_at_an_ordinary_program();
    let closed: Vec<_> = allowed.iter().filter(|(_, allowed)| !allowed).collect();
    if !closed.is_empty() {
        skipped(
            test,
            &format!("this machine refuses {closed:?} to everybody: proves little"),
        );
    }
}

#[test]
fn a_process_of_the_same_user_cannot_look_into_the_agent() {
    const TEST: &str = "a_process_of_the_same_user_cannot_look_into_the_agent";
    if !is_possible(TEST) {
        return;
    }
    let programs = tempfile::tempdir().expect("a directory");
    let program = copy_of("sfkey-agent", programs.path());
    let home = Home::of_user(UID);
    let agent = Agent::start(&home, &Launch::default().as_user(UID, program));
    assert_closed(TEST, agent.pid());
}

/// What a client reads from a pipe, and half of what it waits for.
const SECRET: &str = "half of a secret";

/// A pipe of the user's that holds half of a secret and stays open.
fn half_a_secret(home: &Home) -> File {
    let path = home.path("secret");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can be made");
    chown(&path, Some(UID), Some(UID)).expect("root may give files away");
    let mut pipe = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("a pipe of both ends");
    pipe.write_all(SECRET.as_bytes()).expect("it fits a pipe");
    pipe
}

/// The commands that hold a key or a passphrase, each about to read one from the pipe.
fn commands(home: &Home) -> [Vec<String>; 4] {
    let secret = home.path("secret").display().to_string();
    let settings = format!(
        "[accounts.prod]\nlogin_url = \"http://127.0.0.1:9\"\nconsumer_key = \"k\"\nusername = \"u\"\nkey = \"{secret}\"\n"
    );
    let settings = home.write("config/sfkey/config.toml", settings);
    for path in [settings.parent().expect("a directory"), &settings] {
        chown(path, Some(UID), Some(UID)).expect("root may give files away");
    }
    [
        vec!["add", "prod"],
        vec!["token", "prod"],
        vec!["lock", "--passphrase-file", &secret],
        vec!["unlock", "--passphrase-file", &secret],
    ]
    .map(|line| line.into_iter().map(str::to_owned).collect())
}

#[tokio::test]
async fn a_process_of_the_same_user_cannot_look_into_a_client_that_holds_a_key() {
    const TEST: &str = "a_process_of_the_same_user_cannot_look_into_a_client_that_holds_a_key";
    if !is_possible(TEST) {
        return;
    }
    let programs = tempfile::tempdir().expect("a directory");
    let [agent, client] = ["sfkey-agent", "sfkey"].map(|name| copy_of(name, programs.path()));
    let home = Home::of_user(UID);
    let _agent = Agent::start(&home, &Launch::default().as_user(UID, agent));
    for line in commands(&home) {
        let pipe = half_a_secret(&home);
        let mut client = Sfkey::program(client.clone(), &home, &line).as_user(UID).start();
        // It has the half, and waits for the rest.
        let taken = async || (ioctl_fionread(&pipe).expect("a pipe tells") == 0).then_some(());
        eventually(taken).await;
        assert_closed(TEST, client.id());
        let limits = fs::read_to_string(format!("/proc/{}/limits", client.id())).expect("it is running");
        let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
        let cores = cores
            .expect("a limit of core dumps")
            .split_ascii_whitespace()
            .nth(4);
        assert_eq!(cores, Some("0"), "{line:?}: {limits}");
        client.kill().expect("it is a child of this process");
        client.wait().expect("it ends");
        fs::remove_file(home.path("secret")).expect("it is there");
    }
}
