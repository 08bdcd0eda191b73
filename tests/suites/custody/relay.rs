//! A listener between client and agent that keeps what passes.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use sfkey_tests::support::{Home, home::set_mode, stopwatch::unix_now};

/// An AddAccount request is longer than all that a client sends before it over the same connection.
const LONGER_THAN_THE_REST: usize = 1_200;

/// Longest wait for a request that a client surely sends.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// All of them reach the agent.
    On,
    /// The request that holds a key is read to its end and goes no further, so that the client waits.
    UpToTheKey,
}

/// Listens where a client can be told to look for its agent.
pub(crate) struct Relay {
    path: PathBuf,
    from_client: Bytes,
    from_agent: Bytes,
    held: mpsc::Receiver<()>,
}

#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Bytes {
    fn keep(&self, piece: &[u8]) {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(piece);
    }

    fn all(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Relay {
    /// Takes connections for the agent of this home.
    pub(crate) fn to(home: &Home, passing: Passing) -> Self {
        let directory = home.path(format!("run/relay-{}", unix_now()));
        fs::create_dir(&directory).expect("created");
        set_mode(&directory, 0o700);
        let path = directory.join("agent.sock");
        let listener = UnixListener::bind(&path).expect("a short path");
        let (from_client, from_agent) = (Bytes::default(), Bytes::default());
        let (hold, held) = mpsc::channel();
        let (agent, kept) = (home.socket(), (from_client.clone(), from_agent.clone()));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client comes");
                let agent = UnixStream::connect(&agent).expect("the agent listens");
                let (to_client, to_agent) = (share(&client), share(&agent));
                let (sent, answered, hold) = (kept.0.clone(), kept.1.clone(), hold.clone());
                thread::spawn(move || pass(agent, to_client, &answered, |_| true));
                thread::spawn(move || {
                    pass(client, to_agent, &sent, |length| {
                        let passes = passing == Passing::On || length < LONGER_THAN_THE_REST;
                        if !passes {
                            // Nobody listens for a second piece of the same request.
                            hold.send(()).ok();
                        }
                        passes
                    });
                });
            }
        });
        Self {
            path,
            from_client,
            from_agent,
            held,
        }
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Waits until the client has sent what is held back.
    pub(crate) fn wait_until_held(&self) {
        self.held
            .recv_timeout(PATIENCE)
            .expect("the client sends its request");
    }

    /// What the client sent, and what the agent sent.
    pub(crate) fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        (self.from_client.all(), self.from_agent.all())
    }
}

fn share(stream: &UnixStream) -> UnixStream {
    stream.try_clone().expect("a descriptor is free")
}

/// `passes` is asked about how much came so far.
fn pass(mut from: UnixStream, mut to: UnixStream, kept: &Bytes, passes: impl Fn(usize) -> bool) {
    let (mut piece, mut came) = ([0; 4096], 0);
    while let Ok(length @ 1..) = from.read(&mut piece) {
        kept.keep(&piece[..length]);
        came += length;
        if passes(came) && to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // The other end may have closed it first.
    to.shutdown(std::net::Shutdown::Both).ok();
}
