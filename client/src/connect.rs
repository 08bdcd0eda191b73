//! From where the socket is to a connection on which calls can be made.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::{environment::Environment, error::Error, trust};

/// How long a connection may wait for its turn. A thousand callers at once fill the agent's queue for a
/// moment; an agent that accepts nothing for this long will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The agent's socket: `flag`, else what the environment says. The agent looks in the same order
/// ([`sfkey_proto::place::socket_path`]).
///
/// # Errors
/// [`Error::NoPlace`] when nothing is known.
pub fn socket_path(flag: Option<&Path>, environment: &Environment) -> Result<PathBuf, Error> {
    let named = flag.map(Path::to_path_buf);
    named.or_else(|| environment.socket.clone()).ok_or(Error::NoPlace)
}

/// One connection to one agent. It is never made again behind the caller's back: whoever listens at the
/// other end was looked at once, and that must stay true.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(crate) socket: PathBuf,
    pub(crate) channel: Channel,
    peer: u32,
    trust: Trust,
}

/// What the agent at the other end must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever answers: nothing secret is sent.
    NotNeeded,
    /// One that a secret may be sent to; judged before the first byte.
    Required,
}

impl Connection {
    /// Connects to the agent at `socket`, within five seconds.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Broken`], [`Error::Untrusted`].
    pub async fn open(socket: &Path, trust: Trust) -> Result<Self, Error> {
        let unreachable = |source| Error::Unreachable {
            socket: socket.to_path_buf(),
            source,
        };
        let stream = open_stream(socket)
            .await
            .map_err(|error| unreachable(name_what_is_no_socket(socket, error)))?;
        let peer = stream.peer_cred().map_err(unreachable)?.uid();
        if trust == Trust::Required {
            require_trust(socket, peer)?;
        }
        let once = Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = once.lock().ok().and_then(|mut stream| stream.take());
            let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the agent closed the connection");
            std::future::ready(stream.ok_or_else(gone))
        });
        // The address is never used to connect; over a Unix socket it only fills `:authority`.
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
            .map_err(|error| broken(socket, peer, &error))?;
        Ok(Self {
            socket: socket.to_path_buf(),
            channel,
            peer,
            trust,
        })
    }

    /// Another connection to the same socket, looked at as this one was.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn again(&self) -> Result<Self, Error> {
        Self::open(&self.socket, self.trust).await
    }

    /// What a failure of the transport means.
    pub(crate) fn broken(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        broken(&self.socket, self.peer, error)
    }

    /// Requires that a secret may be sent over this connection.
    ///
    /// # Errors
    /// [`Error::Untrusted`].
    pub fn require_trust(&self) -> Result<(), Error> {
        require_trust(&self.socket, self.peer)
    }
}

fn require_trust(socket: &Path, peer: u32) -> Result<(), Error> {
    let own = rustix::process::geteuid().as_raw();
    trust::judge(socket, peer, own).map_err(|why| Error::Untrusted {
        socket: socket.to_path_buf(),
        why,
    })
}

/// connect(2) refuses a file that is no socket in the same words as a socket that nobody serves.
fn name_what_is_no_socket(socket: &Path, error: io::Error) -> io::Error {
    let other = fs::metadata(socket).is_ok_and(|found| !found.file_type().is_socket());
    if error.kind() == io::ErrorKind::ConnectionRefused && other {
        io::Error::new(io::ErrorKind::InvalidInput, "it is no socket")
    } else {
        error
    }
}

fn broken(socket: &Path, peer: u32, error: &(dyn std::error::Error + 'static)) -> Error {
    let socket = socket.to_path_buf();
    if peer == rustix::process::geteuid().as_raw() {
        let detail = root_cause(error);
        Error::Broken { socket, detail }
    } else {
        Error::OthersAgent { socket, uid: peer }
    }
}

/// The innermost error in words, for the outer ones only say "transport error".
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let kind = innermost.downcast_ref::<io::Error>().map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
            "it closed the connection".to_owned()
        }
        _ => innermost.to_string(),
    }
}

/// Connects without blocking when the agent has room in its queue, which is nearly always; else waits for
/// its turn on another thread, because a non-blocking connect(2) to a full queue fails at once.
async fn open_stream(socket: &Path) -> io::Result<UnixStream> {
    match UnixStream::connect(socket).await {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let socket = socket.to_path_buf();
            let waiting = tokio::task::spawn_blocking(move || connect_in_turn(&socket));
            let stream = waiting.await.map_err(io::Error::other)??;
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        }
        done => done,
    }
}

fn connect_in_turn(socket: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    let descriptor = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The send timeout is what bounds connect(2) on a Unix socket (socket(7)).
    sockopt::set_socket_timeout(&descriptor, sockopt::Timeout::Send, Some(CONNECT_TIMEOUT))?;
    rustix::net::connect(&descriptor, &SocketAddrUnix::new(socket)?)?;
    sockopt::set_socket_timeout(&descriptor, sockopt::Timeout::Send, None)?;
    Ok(descriptor.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_beats_the_environment() {
        let mut environment = Environment::default();
        assert!(matches!(socket_path(None, &environment), Err(Error::NoPlace)));
        environment.socket = Some("/named.sock".into());
        let found = |flag: Option<&str>| socket_path(flag.map(Path::new), &environment).expect("a place");
        assert_eq!(found(None), PathBuf::from("/named.sock"));
        assert_eq!(found(Some("/flag.sock")), PathBuf::from("/flag.sock"));
    }

    #[test]
    fn a_connection_waits_for_its_turn_when_the_queue_is_full() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("agent.sock");
        let listener = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        let address = SocketAddrUnix::new(&path).expect("a short path");
        rustix::net::bind(&listener, &address).expect("bound");
        rustix::net::listen(&listener, 0).expect("listening");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let _first = UnixStream::connect(&path).await.expect("fits into the queue");
            let full = UnixStream::connect(&path).await.expect_err("the queue is full");
            assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
            let accepting = tokio::task::spawn_blocking(move || {
                for _ in 0..2 {
                    rustix::net::accept(&listener).expect("accepted");
                }
            });
            open_stream(&path).await.expect("connected in its turn");
            accepting.await.expect("accepted both");
        });
    }
}
