//! One accepted connection: its peer, its sealing key, and its place in the table.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use sfkey_proto::sealing::{KEY_LIFETIME_SECONDS, SealingKey};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    sync::OwnedSemaphorePermit,
    time::Sleep,
};
use tonic::transport::server::Connected;

use crate::{limits::PREFACE_TIME, peer::Peer};

/// Length of the HTTP/2 connection preface, in bytes (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// What a request knows of the connection that it came over.
#[derive(Clone, Debug)]
pub struct Caller {
    peer: Peer,
    sealing: Arc<Mutex<Option<SealingKey>>>,
}

impl Caller {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            sealing: Arc::default(),
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Makes the sealing key of this connection, in place of an unused one, and returns its public half.
    /// It is destroyed after 120 s even if nothing comes.
    #[must_use]
    pub fn make_sealing_key(&self) -> [u8; 32] {
        let key = SealingKey::generate();
        let public = key.public_key();
        *self.slot() = Some(key);
        let slot = Arc::downgrade(&self.sealing);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(KEY_LIFETIME_SECONDS.into())).await;
            if let Some(slot) = slot.upgrade() {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                slot.take_if(|key| key.public_key() == public);
            }
        });
        public
    }

    /// Takes the sealing key: whatever becomes of the message, the key opens no other.
    #[must_use]
    pub fn take_sealing_key(&self) -> Option<SealingKey> {
        self.slot().take()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<SealingKey>> {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose peer is known. There is no other way to make one than from a [`Peer`].
pub struct Connection {
    stream: UnixStream,
    caller: Caller,
    /// Ends a connection that does not send its preface; `None` once it did.
    preface: Option<(Pin<Box<Sleep>>, usize)>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// A connection from `peer`, which holds `place` in the table until it is dropped.
    #[must_use]
    pub fn new(stream: UnixStream, peer: Peer, place: OwnedSemaphorePermit) -> Self {
        let deadline = Box::pin(tokio::time::sleep(PREFACE_TIME));
        Self {
            stream,
            caller: Caller::new(peer),
            preface: Some((deadline, 0)),
            _place: place,
        }
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
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some((deadline, received)) = &mut self.preface else {
            return read;
        };
        *received += buf.filled().len() - before;
        if *received >= PREFACE_BYTES {
            self.preface = None;
        } else if read.is_pending() && deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
