//! Accepted connections: peer, sealing key, place in the table, and the way to close them.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use sfkey_proto::sealing::{KEY_LIFETIME_SECONDS, PUBLIC_KEY_BYTES, SealingKey};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    sync::OwnedSemaphorePermit,
    task::AbortHandle,
    time::Sleep,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::{
    limits::PREFACE_TIME,
    peer::{Peer, Socket},
};

/// Length of the HTTP/2 connection preface, in bytes (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// The open connections, for whoever must close them.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<HashMap<u64, Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    /// Where it came in, and whose it is.
    of: (Socket, u32),
    close: CancellationToken,
    /// The preface came: there may be requests in work.
    spoke: bool,
}

/// What a request knows of the connection that it came over.
#[derive(Clone, Debug)]
pub struct Caller {
    id: u64,
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

impl Connections {
    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.table().len()
    }

    /// How many the user `uid` has open at `socket`.
    #[must_use]
    pub fn open_of(&self, socket: Socket, uid: u32) -> usize {
        let of_user = |entry: &&Entry| entry.of == (socket, uid);
        self.table().values().filter(of_user).count()
    }

    /// How many are open at `socket`.
    #[must_use]
    pub fn open_at(&self, socket: Socket) -> usize {
        self.table().values().filter(|entry| entry.of.0 == socket).count()
    }

    /// Closes every connection but the caller's own, in the middle of whatever they are doing.
    pub fn close_others(&self, than: &Caller) {
        self.table()
            .iter()
            .filter(|(id, _)| **id != than.id)
            .for_each(|(_, entry)| entry.close.cancel());
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        self.table().values().for_each(|entry| entry.close.cancel());
    }

    /// Closes every connection that has not said anything yet.
    pub fn close_silent(&self) {
        self.table()
            .values()
            .filter(|entry| !entry.spoke)
            .for_each(|entry| entry.close.cancel());
    }

    fn enter(&self, peer: &Peer) -> (u64, CancellationToken) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            of: (peer.socket(), peer.uid()),
            close: CancellationToken::new(),
            spoke: false,
        };
        self.table().insert(id, entry.clone());
        (id, entry.close)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    fn new(id: u64, peer: Peer) -> Self {
        Self {
            id,
            peer,
            sealing: Arc::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(peer: Peer) -> Self {
        Self::new(0, peer)
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
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

/// A connection whose peer is known. There is no other way to make one than from a [`Peer`].
pub struct Connection {
    stream: UnixStream,
    caller: Caller,
    /// Ends a connection that does not send its preface; `None` once it did.
    preface: Option<(Pin<Box<Sleep>>, usize)>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    connections: Connections,
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
            caller: Caller::new(id, peer),
            preface: Some((deadline, 0)),
            closed: Box::pin(close.cancelled_owned()),
            connections,
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
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.table().remove(&self.caller.id);
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
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some((deadline, received)) = &mut self.preface else {
            return read;
        };
        *received += buf.filled().len() - before;
        if *received >= PREFACE_BYTES {
            self.preface = None;
            let id = self.caller.id;
            if let Some(entry) = self.connections.table().get_mut(&id) {
                entry.spoke = true;
            }
        } else if read.is_pending() && deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, data)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
