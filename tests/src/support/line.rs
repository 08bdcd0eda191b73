//! A line to the agent that can be cut, as the agent cuts that of a client which has said nothing for long.

use std::{
    fs, io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use rustix::{net::sockopt::socket_peercred, process::getpid};

use super::home::{Home, set_mode};

/// Listens where a client can be told to look for its agent, and passes on what comes.
#[derive(Debug)]
pub struct Line {
    path: PathBuf,
    open: Arc<Mutex<Vec<UnixStream>>>,
    reached: mpsc::Receiver<()>,
}

impl Line {
    /// Takes connections for the agent of this home.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to(home: &Home) -> Self {
        let directory = home.path("run/line");
        fs::create_dir(&directory).expect("created");
        set_mode(&directory, 0o700);
        let path = directory.join("agent.sock");
        let listener = UnixListener::bind(&path).expect("a short path");
        let open = Arc::new(Mutex::new(Vec::new()));
        let (reach, reached) = mpsc::channel();
        let (agent, taken) = (home.socket(), Arc::clone(&open));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client comes");
                if socket_peercred(&client).expect("told").pid == getpid() {
                    // The test may have ended since.
                    reach.send(()).ok();
                    continue;
                }
                let agent = UnixStream::connect(&agent).expect("the agent listens");
                taken
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(share(&client));
                pass(share(&client), share(&agent));
                pass(agent, client);
            }
        });
        Self { path, open, reached }
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends every connection that was made until now, and tells how many there were.
    ///
    /// # Panics
    /// When it does not listen any more.
    pub fn cut(&self) -> usize {
        // Connections are taken in their turn: when this one is, so are those that were made before.
        drop(UnixStream::connect(&self.path).expect("it listens"));
        self.reached.recv().expect("it is taken");
        let cut = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for client in &cut {
            // The client may have ended it already.
            client.shutdown(Shutdown::Both).ok();
        }
        cut.len()
    }
}

fn share(stream: &UnixStream) -> UnixStream {
    stream.try_clone().expect("a descriptor is free")
}

/// Passes on what comes from one end, on a thread of its own, and ends both when that one ends.
fn pass(mut from: UnixStream, mut to: UnixStream) {
    thread::spawn(move || {
        // How it ends is the same to whoever listens.
        io::copy(&mut from, &mut to).ok();
        for end in [from, to] {
            end.shutdown(Shutdown::Both).ok();
        }
    });
}
