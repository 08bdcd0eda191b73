//! The unit files, as they are written and as they are found.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::exit::escape;

pub(super) const AGENT_SOCKET: &str = "sfkey-agent.socket";
pub(super) const AGENT_SERVICE: &str = "sfkey-agent.service";

const SOCKET_TEXT: &str = include_str!("../../../../systemd/user/sfkey-agent.socket");
const SERVICE_TEXT: &str = include_str!("../../../../systemd/user/sfkey-agent.service");

/// The line that starts the agent, as the service stands in the sources: found in systemd's own search path.
const START: &str = "ExecStart=sfkey-agent\n";

/// How the first line begins; behind it stands the SHA-256 of everything below, by which a change shows.
const MARK: &str = "# Written by sfkey service install, which notices changes: ";

/// A unit file.
pub(super) struct Unit {
    pub(super) name: &'static str,
    text: String,
}

/// How a unit file is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Missing,
    /// Just as it would be written.
    Current,
    /// As another version wrote it, or for another place of the agent.
    Outdated,
    /// As nobody but the user wrote it.
    Changed,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Current => "installed",
            Self::Outdated => "outdated",
            Self::Changed => "changed",
        }
    }
}

/// The units of this version, for the agent at `program`.
pub(super) fn of_program(program: &Path) -> Vec<Unit> {
    let start = format!("ExecStart={}\n", word(&program.to_string_lossy()));
    let service = SERVICE_TEXT.replace(START, &start);
    let unit = |name, text: &str| Unit {
        name,
        text: marked(text),
    };
    vec![unit(AGENT_SOCKET, SOCKET_TEXT), unit(AGENT_SERVICE, &service)]
}

/// The same for whoever only wants to know which ones there are.
pub(super) fn all() -> Vec<Unit> {
    of_program(Path::new("/usr/bin/sfkey-agent"))
}

/// The files one below the other, each under its path.
pub(super) fn listing(units: &[Unit], directory: &Path) -> String {
    let parts: Vec<String> = units
        .iter()
        .map(|unit| {
            format!(
                "# {}\n{}",
                escape(&directory.join(unit.name).to_string_lossy()),
                unit.text
            )
        })
        .collect();
    parts.join("\n")
}

impl Unit {
    pub(super) fn state(&self, directory: &Path) -> io::Result<State> {
        let found = match fs::read_to_string(directory.join(self.name)) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Missing),
            Err(error) => return Err(error),
        };
        Ok(match () {
            () if found == self.text => State::Current,
            () if is_as_written(&found) => State::Outdated,
            () => State::Changed,
        })
    }

    /// Writes it in one step: systemd never reads half of it.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let new = directory.join(format!(".{}.new", self.name));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&new)?;
        file.write_all(self.text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, directory.join(self.name))
    }
}

fn marked(text: &str) -> String {
    format!("{MARK}{}\n{text}", sum(text))
}

fn is_as_written(found: &str) -> bool {
    let rest = found.strip_prefix(MARK).and_then(|rest| rest.split_once('\n'));
    rest.is_some_and(|(told, text)| told == sum(text))
}

fn sum(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A path as one word of ExecStart= (systemd.service(5), systemd.syntax(7)).
fn word(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@,:=".contains(c);
    if path.chars().all(plain) {
        return path.to_owned();
    }
    let escaped = path
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Unit) {
        let place = tempfile::tempdir().expect("a directory");
        let service = of_program(Path::new("/opt/my tools/sfkey-agent")).remove(1);
        (place, service)
    }

    #[test]
    fn the_service_starts_the_agent_where_it_is() {
        let (_, service) = place();
        assert!(
            service
                .text
                .contains("\nExecStart=\"/opt/my tools/sfkey-agent\"\n"),
            "{}",
            service.text
        );
        assert_eq!(service.text.matches("ExecStart=").count(), 1);
        assert_eq!(word(r#"/a%b/$c/"d"\e"#), r#""/a%%b/$$c/\"d\"\\e""#);
    }

    #[test]
    fn a_file_is_known_as_ones_own_until_somebody_changes_it() {
        let (place, service) = place();
        assert_eq!(service.state(place.path()).expect("read"), State::Missing);
        service.write(place.path()).expect("written");
        assert_eq!(service.state(place.path()).expect("read"), State::Current);
        let elsewhere = of_program(Path::new("/usr/bin/sfkey-agent")).remove(1);
        assert_eq!(elsewhere.state(place.path()).expect("read"), State::Outdated);
        let path = place.path().join(AGENT_SERVICE);
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, text.replace("WatchdogSec=60", "WatchdogSec=90")).expect("written");
        assert_eq!(service.state(place.path()).expect("read"), State::Changed);
        fs::write(&path, "[Service]\nExecStart=/bin/true\n").expect("written");
        assert_eq!(service.state(place.path()).expect("read"), State::Changed);
    }
}
