//! `sfkey service`: the agent as a unit of the user's systemd, started by the first call to its socket.

mod systemctl;
mod units;

use std::{
    fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde::Serialize;

use self::{
    systemctl::Systemctl,
    units::{AGENT_SERVICE, AGENT_SOCKET, State, Unit},
};
use super::Invocation;
use crate::{
    cli::{ServiceAction, ServiceInstallArgs, ServiceUninstallArgs},
    exit::{Cause, Failure, escape, words},
    output::Output,
    quote,
};

/// Where packages and administrators put units of all users, most important first (systemd.unit(5)).
const SHARED: [&str; 4] = [
    "/etc/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
    "/lib/systemd/user",
];

/// Where the link is that enables the socket.
const WANTS: &str = "sockets.target.wants";

pub(super) fn run(invocation: &Invocation<'_>, action: &ServiceAction) -> Result<(), Failure> {
    match action {
        ServiceAction::Install(args) => install(invocation, args),
        ServiceAction::Uninstall(args) => uninstall(invocation, args),
        ServiceAction::Status => status(invocation),
    }
}

/// What `install` and `uninstall` print as JSON.
#[derive(Serialize)]
struct Done<'a> {
    units: Vec<UnitObject<'a>>,
}

#[derive(Serialize)]
struct UnitObject<'a> {
    unit: &'a str,
    path: String,
    action: &'static str,
}

fn install(invocation: &Invocation<'_>, args: &ServiceInstallArgs) -> Result<(), Failure> {
    let units = units::of_program(&agent_program()?);
    let directory = directory(invocation)?;
    if args.print {
        return Output::text(&units::listing(&units, &directory));
    }
    let systemctl = Systemctl::reach()?;
    if let Some(shared) = shared(&directory) {
        require_free_path(&systemctl)?;
        systemctl.enable(AGENT_SOCKET)?;
        let text = format!(
            "Enabled {AGENT_SOCKET} of {}. The first call to sfkey starts the agent.",
            shared.display()
        );
        return invocation.output.done(&text, &Done { units: Vec::new() });
    }
    let states = states(&units, &directory)?;
    if !args.force {
        refuse_changed(&states, &directory, "install")?;
    }
    require_free_path(&systemctl)?;
    let mut done = Vec::new();
    for (unit, state) in &states {
        let path = directory.join(unit.name);
        let action = match state {
            State::Current => "unchanged",
            State::Missing => "installed",
            State::Outdated => "updated",
            State::Changed => {
                invocation.output.warn(&format!(
                    "the unit that was changed by hand is kept as {}",
                    set_aside(&path)?.display()
                ));
                "replaced"
            }
        };
        if *state != State::Current {
            unit.write(&directory)
                .map_err(|error| failed("write", &path, &error))?;
        }
        done.push(UnitObject {
            unit: unit.name,
            path: path.display().to_string(),
            action,
        });
    }
    systemctl.reload()?;
    systemctl.enable(AGENT_SOCKET)?;
    let outdated = done
        .iter()
        .any(|unit| unit.action == "updated" || unit.action == "replaced");
    if outdated && systemctl.is_active(AGENT_SERVICE) {
        invocation.output.warn(&format!(
            "the agent that runs is of the old unit; to change over (it forgets its keys): systemctl --user restart {AGENT_SERVICE}"
        ));
    }
    invocation
        .output
        .done(&told(&done, &directory), &Done { units: done })
}

/// What was done, in one line.
fn told(done: &[UnitObject<'_>], directory: &Path) -> String {
    let place = directory.display();
    if done.iter().all(|unit| unit.action == "unchanged") {
        return format!("The units in {place} are there already, and {AGENT_SOCKET} is enabled.");
    }
    let parts: Vec<String> = done
        .iter()
        .map(|unit| format!("{} {}", unit.action, unit.unit))
        .collect();
    format!(
        "In {place}: {}. {AGENT_SOCKET} is enabled: the first call to sfkey starts the agent.",
        parts.join(", ")
    )
}

fn uninstall(invocation: &Invocation<'_>, args: &ServiceUninstallArgs) -> Result<(), Failure> {
    let directory = directory(invocation)?;
    let units = units::all();
    let states = states(&units, &directory)?;
    if !args.force {
        refuse_changed(&states, &directory, "uninstall")?;
    }
    let installed = states.iter().any(|(_, state)| *state != State::Missing);
    if !installed && shared(&directory).is_none() {
        let text = format!("There are no units of sfkey in {}.", directory.display());
        return invocation.output.done(&text, &Done { units: Vec::new() });
    }
    // Where there is no systemd any more, the files can be removed all the same.
    let systemctl = Systemctl::reach().ok();
    if let Some(systemctl) = &systemctl {
        systemctl.disable(&[AGENT_SOCKET, AGENT_SERVICE])?;
    }
    let mut done = remove(invocation, &states, &directory)?;
    let text = match &systemctl {
        Some(systemctl) => {
            systemctl.reload()?;
            "The agent is stopped and no longer started by systemd; its keys are forgotten.".to_owned()
        }
        None => {
            done.extend(remove_link(&directory)?);
            told_without_systemd(&done, &directory)
        }
    };
    invocation.output.done(&text, &Done { units: done })
}

/// Removes the units that are there, and keeps aside what was changed by hand.
fn remove<'u>(
    invocation: &Invocation<'_>,
    states: &[(&'u Unit, State)],
    directory: &Path,
) -> Result<Vec<UnitObject<'u>>, Failure> {
    let mut done = Vec::new();
    for (unit, state) in states {
        let path = directory.join(unit.name);
        match state {
            State::Missing => continue,
            State::Changed => {
                let kept = set_aside(&path)?;
                invocation.output.warn(&format!(
                    "the unit that was changed by hand is kept as {}",
                    kept.display()
                ));
            }
            State::Current | State::Outdated => {
                fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
            }
        }
        done.push(UnitObject {
            unit: unit.name,
            path: path.display().to_string(),
            action: "removed",
        });
    }
    Ok(done)
}

/// Removes the link that enables the socket, as `systemctl disable` does; one that leads elsewhere is not ours.
fn remove_link(directory: &Path) -> Result<Option<UnitObject<'static>>, Failure> {
    let wants = directory.join(WANTS);
    let link = wants.join(AGENT_SOCKET);
    let Ok(target) = fs::read_link(&link) else {
        return Ok(None);
    };
    let own = [directory.to_path_buf(), PathBuf::from("..")];
    let mut places = own.into_iter().chain(SHARED.map(PathBuf::from));
    if !places.any(|place| place.join(AGENT_SOCKET) == target) {
        return Ok(None);
    }
    fs::remove_file(&link).map_err(|error| failed("remove", &link, &error))?;
    // It stays for what others have in it.
    fs::remove_dir(&wants).ok();
    Ok(Some(UnitObject {
        unit: AGENT_SOCKET,
        path: link.display().to_string(),
        action: "removed",
    }))
}

/// What was done without systemd: files went, and no process did.
fn told_without_systemd(done: &[UnitObject<'_>], directory: &Path) -> String {
    let files = if done.is_empty() {
        "There is nothing of sfkey to remove"
    } else {
        "The units of sfkey are removed"
    };
    format!(
        "{files} in {}. The systemd of this user was not reached, so nothing was stopped: an agent that runs keeps its keys until sfkey stop.",
        directory.display()
    )
}

/// What `status` prints as JSON.
#[derive(Serialize)]
struct StatusObject<'a> {
    systemd: bool,
    directory: String,
    socket: Option<&'a str>,
    service: Option<&'a str>,
    units: Vec<UnitState<'a>>,
}

#[derive(Serialize)]
struct UnitState<'a> {
    unit: &'a str,
    path: String,
    state: &'static str,
}

fn status(invocation: &Invocation<'_>) -> Result<(), Failure> {
    let directory = directory(invocation)?;
    let units = units::of_program(&agent_program()?);
    let states = states(&units, &directory)?;
    let found = shared(&directory);
    let systemctl = Systemctl::reach().ok();
    let active = |unit| systemctl.as_ref().map(|systemctl| systemctl.active_state(unit));
    let (socket, service) = (active(AGENT_SOCKET), active(AGENT_SERVICE));
    let units: Vec<UnitState<'_>> = states
        .iter()
        .map(|(unit, state)| UnitState {
            unit: unit.name,
            path: found
                .as_deref()
                .unwrap_or(&directory)
                .join(unit.name)
                .display()
                .to_string(),
            state: if found.is_some() { "shared" } else { state.name() },
        })
        .collect();
    if invocation.output.is_json() {
        return invocation.output.done(
            "",
            &StatusObject {
                systemd: systemctl.is_some(),
                directory: directory.display().to_string(),
                socket: socket.as_deref(),
                service: service.as_deref(),
                units,
            },
        );
    }
    let mut text = String::new();
    for unit in &units {
        text.push_str(&format!(
            "{}: {} ({})\n",
            unit.unit,
            unit.state,
            escape(&unit.path)
        ));
    }
    match (&socket, &service) {
        (Some(socket), Some(service)) => text.push_str(&format!("socket: {socket}, agent: {service}\n")),
        _ => text.push_str("systemd of this user: not reached\n"),
    }
    if units.iter().all(|unit| unit.state == "missing") {
        text.push_str("To set it up: sfkey service install\n");
    }
    Output::text(&text)
}

fn states<'u>(units: &'u [Unit], directory: &Path) -> Result<Vec<(&'u Unit, State)>, Failure> {
    let state = |unit: &'u Unit| match unit.state(directory) {
        Ok(state) => Ok((unit, state)),
        Err(error) => Err(failed("read", &directory.join(unit.name), &error)),
    };
    units.iter().map(state).collect()
}

fn refuse_changed(states: &[(&Unit, State)], directory: &Path, action: &str) -> Result<(), Failure> {
    let changed = states.iter().find(|(_, state)| *state == State::Changed);
    let Some((unit, _)) = changed else { return Ok(()) };
    let path = directory.join(unit.name);
    Err(Failure::new(
        Cause::Config,
        format!("{} was changed by hand, so it is left alone", path.display()),
        format!(
            "put changes into a drop-in (systemctl --user edit {}); sfkey service {action} --force keeps the old file aside",
            unit.name
        ),
    ))
}

/// Moves a file aside, and returns its new name, which systemd does not read.
fn set_aside(path: &Path) -> Result<PathBuf, Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    let aside = PathBuf::from(name);
    fs::rename(path, &aside).map_err(|error| failed("move", path, &error))?;
    Ok(aside)
}

/// systemd would put its own socket in the place of one that an agent serves.
fn require_free_path(systemctl: &Systemctl) -> Result<(), Failure> {
    let path = systemctl.runtime_directory().join("sfkey/agent.sock");
    if systemctl.is_active(AGENT_SOCKET) || UnixStream::connect(&path).is_err() {
        return Ok(());
    }
    Err(Failure::new(
        Cause::Config,
        format!("an agent that systemd did not start serves {}", path.display()),
        "sfkey stop, then sfkey service install (the agent forgets its keys)",
    ))
}

/// Where this user's own units are.
fn directory(invocation: &Invocation<'_>) -> Result<PathBuf, Failure> {
    let home = invocation.environment.config_home.as_ref();
    home.map(|home| home.join("systemd/user")).ok_or_else(|| {
        Failure::new(
            Cause::Config,
            "where this user's units are cannot be told: XDG_CONFIG_HOME and HOME are not set",
            "set HOME",
        )
    })
}

/// Where units of all users are, if this user has none of his own before them.
fn shared(directory: &Path) -> Option<PathBuf> {
    if directory.join(AGENT_SOCKET).exists() {
        return None;
    }
    let mut places = SHARED.iter().map(PathBuf::from);
    places.find(|place| place.join(AGENT_SOCKET).exists())
}

/// The agent that belongs to this program: beside it, else in PATH.
fn agent_program() -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe()
        .ok()
        .map(|own| own.with_file_name("sfkey-agent"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join("sfkey-agent"));
    let mut programs = beside.into_iter().chain(in_path);
    let found = programs.find(|program| program.is_absolute() && program.is_file());
    found.ok_or_else(|| {
        Failure::new(
            Cause::Config,
            "sfkey-agent is neither beside sfkey nor in PATH",
            "install both programs into one directory: make install",
        )
    })
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Cause::Io,
        format!("cannot {what} {}: {}", path.display(), words(error)),
        format!(
            "look at the directory: ls -ld {}",
            quote::word(&path.parent().unwrap_or(path).to_string_lossy())
        ),
    )
}
