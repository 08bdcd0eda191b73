//! Accepted connections: peer, sealing key, place in the table, what they hold, and the way to close them.

mod load;
mod open;
mod turns;

use std::{
    future::Future,
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use sfkey_proto::sealing::{KEY_LIFETIME_SECONDS, PUBLIC_KEY_BYTES, SealingKey};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    sync::OwnedSemaphorePermit,
    task::AbortHandle,
    time::{Instant, Sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::{
    limits::{BYTES_PER_REQUEST, PREFACE_TIME, TURN_BYTES},
    peer::Peer,
};

use turns::{Place, Waiting};

pub(crate) use load::{Coming, Going};

pub use load::Load;
pub use open::Connections;

/// Length of the HTTP/2 connection preface, in bytes (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// What a request knows of the connection that it came over.
#[derive(Clone, Debug)]
pub struct Caller {
    id: u64,
    connections: Connections,
    /// Requests that began.
    begun: Arc<AtomicU64>,
    peer: Peer,
    sealing: Arc<Mutex<Option<UnusedKey>>>,
}

/// A sealing key that waits for its one request, and the timer that destroys it when none comes.
#[derive(Debug)]
struct UnusedKey {
    key: Option<SealingKey>,
    timer: AbortHandle,
}

impl Drop for UnusedKey {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl Caller {
    fn new(id: u64, connections: Connections, peer: Peer) -> Self {
        Self {
            id,
            connections,
            begun: Arc::default(),
            peer,
            sealing: Arc::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(peer: Peer) -> Self {
        Self::new(0, Connections::new(1), peer)
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Takes a request of this connection into account, from its first header on.
    #[must_use]
    pub fn begin(&self) -> Load {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.connections.begin(self.id, self.peer.socket())
    }

    /// Makes the sealing key of this connection, in place of an unused one, and returns its public half.
    /// It is destroyed after 120 s even if nothing comes.
    #[must_use]
    pub fn make_sealing_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        let key = SealingKey::generate();
        let public = key.public_key();
        let slot = Arc::downgrade(&self.sealing);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(KEY_LIFETIME_SECONDS.into())).await;
            if let Some(slot) = slot.upgrade() {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                slot.take_if(|unused| unused.key.as_ref().is_some_and(|key| key.public_key() == public));
            }
        });
        *self.slot() = Some(UnusedKey {
            key: Some(key),
            timer: timer.abort_handle(),
        });
        public
    }

    /// Takes the sealing key: whatever becomes of the message, the key opens no other.
    #[must_use]
    pub fn take_sealing_key(&self) -> Option<SealingKey> {
        self.slot().take()?.key.take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<UnusedKey>> {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a connection is with its turn to be read from.
enum Turn {
    /// It asks when it is polled.
    Over,
    Awaited(Waiting),
    /// It may begin.
    Granted(Place),
    Taken {
        /// How often the connection was polled since.
        polls: u8,
        _place: Place,
    },
}

/// When the connection has been polled so often since it was read from, what was read has become requests.
const POLLS_OF_A_TURN: u8 = 2;

/// A connection whose peer is known. There is no other way to make one than from a [`Peer`].
pub struct Connection {
    stream: UnixStream,
    caller: Caller,
    /// Ends a connection that does not send its preface; `None` once it did.
    preface: Option<(Pin<Box<Sleep>>, usize)>,
    /// What was sent waits for the client to take it.
    stalled: bool,
    /// Its task ran before.
    met: bool,
    since: Instant,
    /// Bytes that were read.
    read: u64,
    turn: Turn,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// A connection from `peer`, which is in `connections` and holds `place` until it is dropped.
    #[must_use]
    pub fn new(
        stream: UnixStream,
        peer: Peer,
        connections: Connections,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let deadline = Box::pin(tokio::time::sleep(PREFACE_TIME));
        let (id, close) = connections.enter(&peer);
        Self {
            stream,
            preface: Some((deadline, 0)),
            stalled: false,
            met: false,
            since: Instant::now(),
            read: 0,
            turn: Turn::Over,
            caller: Caller::new(id, connections, peer),
            closed: Box::pin(close.cancelled_owned()),
            _place: place,
        }
    }

    /// An error once the connection is to be closed.
    fn check_open(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            Poll::Pending => Ok(()),
        }
    }

    /// Waits for this connection's turn to be read from. A turn is over when what was read of it has become requests,
    /// which are weighed: the server makes them after it is polled, and they begin after that.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Turn::Taken { polls, .. } = &mut self.turn {
            *polls += 1;
            if *polls <= POLLS_OF_A_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.turn = Turn::Over;
        }
        let (connections, peer) = (&self.caller.connections, &self.caller.peer);
        if let Turn::Over = self.turn {
            self.turn = Turn::Awaited(connections.turns(peer.socket()).ask(peer.party()));
        }
        if let Turn::Awaited(waiting) = &mut self.turn {
            self.turn = Turn::Granted(ready!(waiting.poll(cx)));
        }
        // Whoever has a turn waits until what was closed has gone, and all others behind them.
        if connections.is_overloaded(peer.socket()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Turn::Granted(place) = mem::replace(&mut self.turn, Turn::Over) {
            self.turn = Turn::Taken {
                polls: 0,
                _place: place,
            };
        }
        Poll::Ready(())
    }

    /// Notes that so many bytes more were read: an error, once they are more than requests can have.
    fn note_read(&mut self, length: usize) -> io::Result<()> {
        self.read += u64::try_from(length).unwrap_or(u64::MAX);
        let minutes = self.since.elapsed().as_secs() / 60;
        let most = (1 + minutes + self.caller.begun.load(Ordering::Relaxed)) * BYTES_PER_REQUEST;
        (self.read <= most)
            .then_some(())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Notes whether the client takes what is sent. While it does not, nothing more is read from it either, or its
    /// answers would pile up here.
    fn note_flow(&mut self, cx: &Context<'_>, flows: bool) {
        if self.stalled != flows {
            return;
        }
        self.stalled = !flows;
        let (connections, id) = (&self.caller.connections, self.caller.id);
        if flows {
            connections.flows(id);
            // What came meanwhile is to be read.
            cx.waker().wake_by_ref();
        } else {
            // Nothing is read until the client comes, and others are.
            self.turn = Turn::Over;
            connections.stalls(id);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.caller.connections.leave(self.caller.id);
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_open(cx)?;
        if self.stalled {
            return Poll::Pending;
        }
        ready!(self.poll_turn(cx));
        if !self.met {
            self.met = true;
            self.caller.connections.met(self.caller.id);
        }
        let before = buf.filled().len();
        // Whoever is alone delays nobody.
        let socket = self.caller.peer.socket();
        let most = match self.caller.connections.turns(socket).is_quiet() {
            true => usize::MAX,
            false => TURN_BYTES,
        };
        let read = read_some(Pin::new(&mut self.stream), cx, buf, most);
        let length = buf.filled().len() - before;
        if length == 0 {
            // There is nothing to read now, or never again.
            self.turn = Turn::Over;
        }
        self.note_read(length)?;
        let Some((deadline, received)) = &mut self.preface else {
            return read;
        };
        *received += length;
        if *received >= PREFACE_BYTES {
            self.preface = None;
            self.caller.connections.spoke(self.caller.id);
        } else if read.is_pending() && deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        }
        read
    }
}

/// Reads at most `most` bytes.
fn read_some(
    stream: Pin<&mut UnixStream>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
    most: usize,
) -> Poll<io::Result<()>> {
    let most = buf.remaining().min(most);
    let mut some = ReadBuf::new(buf.initialize_unfilled_to(most));
    let read = stream.poll_read(cx, &mut some);
    let length = some.filled().len();
    buf.advance(length);
    read
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.note_flow(cx, written.is_ready());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note_flow(cx, written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Socket;

    #[tokio::test(start_paused = true)]
    async fn an_unused_sealing_key_is_destroyed_after_two_minutes() {
        let caller = Caller::for_test(Peer::for_test(1000));
        let _public = caller.make_sealing_key();
        tokio::time::sleep(Duration::from_secs(119)).await;
        assert!(caller.slot().is_some());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(caller.take_sealing_key().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_sealing_key_takes_the_place_and_the_time_of_the_old_one() {
        let caller = Caller::for_test(Peer::for_test(1000));
        let first = caller.make_sealing_key();
        tokio::time::sleep(Duration::from_secs(100)).await;
        let second = caller.make_sealing_key();
        assert_ne!(first, second);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(
            caller.take_sealing_key().map(|key| key.public_key()),
            Some(second)
        );
        assert!(caller.take_sealing_key().is_none(), "it opens one message");
    }

    /// A connection whose other end is `theirs`, and the turns that it takes.
    fn connection(connections: &Connections) -> (Connection, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("non-blocking");
        let stream = UnixStream::from_std(ours).expect("in a runtime");
        let place = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned();
        let place = place.expect("there is one");
        let peer = Peer::for_test(1000);
        (Connection::new(stream, peer, connections.clone(), place), theirs)
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_or_says_no_more_is_given_no_turn() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let connections = Connections::new(1);
        let quiet = || connections.turns(Socket::Main).is_quiet();
        let turns: Vec<_> = (0..crate::limits::TURNS - 1)
            .map(|_| connections.turns(Socket::Main).ask(Peer::for_test(1000).party()))
            .collect();
        let (mut stalled, mut client) = connection(&connections);
        io::Write::write_all(&mut client, b"PRI").expect("sent");
        stalled.read_u8().await.expect("it is read in its turn");
        assert!(!quiet(), "all turns are taken");
        let endless = vec![0; 64 * 1024];
        while let Some(written) = futures_util::FutureExt::now_or_never(stalled.write(&endless)) {
            written.expect("there is room in the buffer");
        }
        drop(turns);
        assert!(quiet(), "the stalled one has no turn");
        let (mut half_closed, client) = connection(&connections);
        client.shutdown(std::net::Shutdown::Write).expect("half closed");
        half_closed.read_u8().await.expect_err("nothing comes");
        assert!(matches!(half_closed.turn, Turn::Over));
    }
}
