//! Sockets that the service manager passed: socket activation, as sd_listen_fds(3) describes it.
//!
//! A name decides what a socket is for, and a wrong one must not be taken for another: what is not just so is
//! refused, with the line of the unit that would be right.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketType, getsockname,
    sockopt::{socket_acceptconn, socket_domain, socket_type},
};
use sfkey_proto::place::{Distrust, is_own_or_roots, judge_ancestors};

use crate::custody::descriptors;

/// Sockets that a unit may pass: one a name.
const MOST: u32 = 2;

/// What a socket is for, by the name that its unit gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `agent`: the main socket.
    Agent,
    /// `token`: the restricted socket.
    Token,
}

impl Purpose {
    /// The name in `FileDescriptorName=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Token => "token",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Agent, Self::Token]
            .into_iter()
            .find(|purpose| purpose.name() == name)
    }
}

/// Why sockets that were passed are not adopted.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The variables contradict each other or themselves.
    #[error("the service manager's variables make no sense: {0}")]
    Variables(String),
    /// A name that says nothing, or says it twice.
    #[error("the service manager passed a socket named {0:?}")]
    Name(String),
    /// Not a listening stream socket with a path.
    #[error("the socket {name} that the service manager passed {what}")]
    Kind {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It listens elsewhere than the command line says.
    #[error("the service manager passed a socket at {passed}, and --socket says {asked}")]
    Elsewhere {
        /// Where it listens.
        passed: PathBuf,
        /// Where it should.
        asked: PathBuf,
    },
    /// Others may connect.
    #[error("the socket {path} has mode {mode:04o}; only its owner may have access")]
    Loose {
        /// The socket.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory on the way, or the socket itself, cannot be trusted.
    #[error(transparent)]
    Untrusted(Distrust),
    /// The system says no.
    #[error("the sockets that the service manager passed cannot be taken over: {0}")]
    Io(#[from] io::Error),
}

impl ActivationError {
    /// The next step: a line of the socket unit where one would do.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Variables(_) => "start the agent by its socket unit, or without LISTEN_FDS",
            Self::Name(_) => {
                "name each socket of the socket unit once: FileDescriptorName=agent, or token for the restricted one"
            }
            Self::Kind { .. } => "give the socket unit one ListenStream= with the path of a Unix socket",
            Self::Elsewhere { .. } => "leave --socket out: ListenStream= of the socket unit says where it is",
            Self::Loose { .. } => "SocketMode=0600 in the socket unit",
            Self::Untrusted(_) => "ListenStream= below a directory that only its user and root can write to",
            Self::Io(_) => "start the agent by its socket unit, or without LISTEN_FDS",
        }
    }
}

/// What the variables say was passed. To be read before any descriptor is closed or opened.
#[derive(Debug, Default)]
pub struct Passed(Vec<Purpose>);

impl Passed {
    /// Reads `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`. Sockets that were passed to another process, such
    /// as the parent whose environment this one inherited, do not count.
    ///
    /// # Errors
    /// [`ActivationError::Variables`] and [`ActivationError::Name`].
    pub fn read(pid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, ActivationError> {
        let text = |name: &str| {
            let value = variable(name).map(OsString::into_string);
            value
                .transpose()
                .map_err(|_| ActivationError::Variables(format!("{name} is not text")))
        };
        let number = |name: &str, value: String| {
            let wrong = || ActivationError::Variables(format!("{name} is {value:?}"));
            value.parse::<u32>().map_err(|_| wrong())
        };
        let (Some(meant), Some(count)) = (text("LISTEN_PID")?, text("LISTEN_FDS")?) else {
            return Ok(Self::default());
        };
        if number("LISTEN_PID", meant)? != pid {
            return Ok(Self::default());
        }
        let count = number("LISTEN_FDS", count)?;
        if count > MOST {
            return Err(ActivationError::Variables(format!("LISTEN_FDS is {count}")));
        }
        let names = text("LISTEN_FDNAMES")?;
        let names: Vec<&str> = match (&names, count) {
            (_, 0) => Vec::new(),
            // systemd always names them; what it stands in for, such as systemd-socket-activate, need not.
            (None, 1) => vec![Purpose::Agent.name()],
            (None, _) => return Err(ActivationError::Variables("LISTEN_FDNAMES is missing".to_owned())),
            (Some(names), _) => names.split(':').collect(),
        };
        if names.len() != count as usize {
            let what = format!(
                "LISTEN_FDS is {count}, and LISTEN_FDNAMES has {} names",
                names.len()
            );
            return Err(ActivationError::Variables(what));
        }
        let mut passed = Vec::new();
        for name in names {
            let purpose = Purpose::of(name).filter(|purpose| !passed.contains(purpose));
            passed.push(purpose.ok_or_else(|| ActivationError::Name(name.to_owned()))?);
        }
        Ok(Self(passed))
    }

    /// How many descriptors, from 3 on, are not to be closed.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.0.len()).expect("there are at most two")
    }

    /// Takes them over for the user `owner` and looks at each: its kind, its path, its mode, the way to it.
    ///
    /// # Errors
    /// [`ActivationError`].
    pub fn adopt(self, owner: u32) -> Result<Adopted, ActivationError> {
        let mut adopted = Adopted::default();
        for (purpose, descriptor) in self.0.iter().zip(descriptors::take_passed(self.count())?) {
            let socket = PassedSocket::judge(*purpose, descriptor, owner)?;
            match purpose {
                Purpose::Agent => adopted.agent = Some(socket),
                Purpose::Token => adopted.token = Some(socket),
            }
        }
        Ok(adopted)
    }
}

/// What was passed and found good.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The main socket.
    pub agent: Option<PassedSocket>,
    /// The restricted socket.
    pub token: Option<PassedSocket>,
}

/// A listening socket that the service manager bound and keeps.
#[derive(Debug)]
pub struct PassedSocket {
    /// The listener.
    pub listener: UnixListener,
    /// Where it listens.
    pub path: PathBuf,
}

impl PassedSocket {
    fn judge(purpose: Purpose, descriptor: OwnedFd, owner: u32) -> Result<Self, ActivationError> {
        let name = purpose.name();
        let path = listening_at(&descriptor).map_err(|what| ActivationError::Kind { name, what })?;
        let found = fs::symlink_metadata(&path)?;
        let mode = found.mode() & 0o7777;
        if !found.file_type().is_socket() {
            let what = "has a path at which no socket stands any more";
            return Err(ActivationError::Kind { name, what });
        }
        if !is_own_or_roots(found.uid(), owner) {
            let uid = found.uid();
            return Err(ActivationError::Untrusted(Distrust::Owner { path, uid }));
        }
        judge_ancestors(&path, owner).map_err(ActivationError::Untrusted)?;
        if purpose == Purpose::Agent && mode & 0o077 != 0 {
            return Err(ActivationError::Loose { path, mode });
        }
        Ok(Self {
            listener: descriptor.into(),
            path,
        })
    }

    /// Requires that it listens where the command line says, if it says so.
    ///
    /// # Errors
    /// [`ActivationError::Elsewhere`].
    pub fn require_at(&self, asked: Option<&Path>) -> Result<(), ActivationError> {
        match asked.map(std::path::absolute).transpose()? {
            Some(asked) if asked != self.path => Err(ActivationError::Elsewhere {
                passed: self.path.clone(),
                asked,
            }),
            _ => Ok(()),
        }
    }
}

/// The path of a listening stream socket, or what is wrong with it.
fn listening_at(descriptor: &impl AsFd) -> Result<PathBuf, &'static str> {
    // What is no socket at all fails here.
    let domain = socket_domain(descriptor).map_err(|_| "is no socket")?;
    if domain != AddressFamily::UNIX {
        return Err("is no Unix socket");
    }
    if socket_type(descriptor) != Ok(SocketType::STREAM) {
        return Err("is no stream socket");
    }
    if socket_acceptconn(descriptor) != Ok(true) {
        return Err("does not listen");
    }
    let address = getsockname(descriptor)
        .ok()
        .and_then(|address| SocketAddrUnix::try_from(address).ok());
    let path = address.as_ref().and_then(SocketAddrUnix::path);
    let path = path.map(|path| PathBuf::from(OsStr::from_bytes(path.to_bytes())));
    path.filter(|path| path.is_absolute())
        .ok_or("has no absolute path in the file system")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Vec<Purpose>, String> {
        let passed = Passed::read(42, |name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        });
        passed
            .map(|passed| passed.0)
            .map_err(|error| format!("{error}; {}", error.fix()))
    }

    fn named(count: &str, names: &str) -> Result<Vec<Purpose>, String> {
        read(&[
            ("LISTEN_PID", "42"),
            ("LISTEN_FDS", count),
            ("LISTEN_FDNAMES", names),
        ])
    }

    #[test]
    fn sockets_are_told_apart_by_their_names_in_any_order() {
        assert_eq!(named("1", "agent"), Ok(vec![Purpose::Agent]));
        assert_eq!(
            named("2", "token:agent"),
            Ok(vec![Purpose::Token, Purpose::Agent])
        );
        assert_eq!(
            read(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "1")]),
            Ok(vec![Purpose::Agent])
        );
    }

    #[test]
    fn nothing_was_passed_when_the_variables_are_missing_or_meant_for_another_process() {
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&[("LISTEN_FDS", "1")]), Ok(vec![]));
        assert_eq!(read(&[("LISTEN_PID", "41"), ("LISTEN_FDS", "1")]), Ok(vec![]));
        assert_eq!(named("0", ""), Ok(vec![]));
    }

    #[test]
    fn a_name_that_is_unknown_or_given_twice_is_refused_with_the_line_that_would_be_right() {
        for (count, names) in [
            ("1", "sfkey-agent.socket"),
            ("2", "agent:agent"),
            ("1", ""),
            ("1", "Agent"),
        ] {
            let error = named(count, names).expect_err(names);
            assert!(error.contains("FileDescriptorName=agent"), "{error}");
        }
    }

    #[test]
    fn variables_that_contradict_each_other_are_refused() {
        for (count, names) in [
            ("2", "agent"),
            ("1", "agent:token"),
            ("3", "agent:token:x"),
            ("-1", "agent"),
            ("x", ""),
        ] {
            let error = named(count, names).expect_err(names);
            assert!(error.contains("make no sense"), "{error}");
        }
        let without_names = [("LISTEN_PID", "42"), ("LISTEN_FDS", "2")];
        assert!(read(&without_names).is_err());
        assert!(read(&[("LISTEN_PID", "me"), ("LISTEN_FDS", "1")]).is_err());
    }

    #[test]
    fn only_a_listening_stream_socket_with_a_path_will_do() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("agent.sock");
        let listener = UnixListener::bind(&path).expect("bound");
        assert_eq!(listening_at(&listener), Ok(path.clone()));
        let connected = UnixStream::connect(&path).expect("connected");
        assert_eq!(listening_at(&connected), Err("does not listen"));
        let datagram = UnixDatagram::bind(place.path().join("d")).expect("bound");
        assert_eq!(listening_at(&datagram), Err("is no stream socket"));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        assert_eq!(listening_at(&tcp), Err("is no Unix socket"));
        let file = fs::File::open("/dev/null").expect("opened");
        assert_eq!(listening_at(&file), Err("is no socket"));
    }

    #[test]
    fn a_main_socket_that_lets_others_in_is_refused_and_a_restricted_one_is_not() {
        let place = tempfile::tempdir().expect("a directory");
        let own = rustix::process::geteuid().as_raw();
        let judge = |name: &str, purpose, mode| {
            let path = place.path().join(name);
            let listener = UnixListener::bind(&path).expect("bound");
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("set");
            PassedSocket::judge(purpose, listener.into(), own)
        };
        assert!(judge("a", Purpose::Agent, 0o600).is_ok());
        let loose = judge("b", Purpose::Agent, 0o660).expect_err("loose");
        assert!(
            matches!(loose, ActivationError::Loose { mode: 0o660, .. }),
            "{loose}"
        );
        assert!(judge("c", Purpose::Token, 0o660).is_ok());
    }

    #[test]
    fn a_socket_elsewhere_than_asked_for_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("agent.sock");
        let listener = UnixListener::bind(&path).expect("bound");
        let socket = PassedSocket {
            listener,
            path: path.clone(),
        };
        assert!(socket.require_at(None).is_ok() && socket.require_at(Some(&path)).is_ok());
        assert!(socket.require_at(Some(Path::new("/elsewhere"))).is_err());
    }
}
