//! What a request holds from its first header to the last byte of its answer, and whom it waits for meanwhile.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::open::Connections;
use crate::{limits::STREAM_BYTES, peer::Socket};

/// The weight of a request on its connection, for as long as it lives.
pub struct Load {
    connections: Connections,
    /// Its connection.
    id: u64,
    socket: Socket,
    weight: AtomicUsize,
    /// Parts of it for which it is the client's turn.
    stuck: AtomicUsize,
}

impl Load {
    pub(super) fn new(connections: Connections, id: u64, socket: Socket) -> Self {
        Self {
            connections,
            id,
            socket,
            weight: AtomicUsize::new(STREAM_BYTES),
            stuck: AtomicUsize::new(0),
        }
    }

    fn add(&self, bytes: usize) {
        self.weight.fetch_add(bytes, Ordering::Relaxed);
        self.connections.weigh(self.id, self.socket, bytes);
    }

    fn shed(&self, bytes: usize) {
        self.weight.fetch_sub(bytes, Ordering::Relaxed);
        self.connections.lighten(self.id, self.socket, bytes);
    }

    fn wait_for_client(&self) {
        if self.stuck.fetch_add(1, Ordering::Relaxed) == 0 {
            self.connections.set_stuck(self.id, true);
        }
    }

    fn client_came(&self) {
        if self.stuck.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connections.set_stuck(self.id, false);
        }
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let weight = self.weight.load(Ordering::Relaxed);
        self.connections.end(self.id, self.socket, weight);
    }
}

/// The body of a request, weighed as it comes. Until it has come it is the client's turn.
pub(crate) struct Coming {
    body: Body,
    load: Arc<Load>,
    waits: bool,
}

impl Coming {
    pub(crate) fn new(body: Body, load: Arc<Load>) -> Self {
        load.wait_for_client();
        let waits = true;
        Self { body, load, waits }
    }

    fn has_come(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.load.client_came();
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.has_come();
    }
}

impl http_body::Body for Coming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.load.add(frame.data_ref().map_or(0, Bytes::len)),
            _ => self.has_come(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. Its parts are weighed until they are on their way.
pub(crate) struct Going {
    body: Body,
    load: Arc<Load>,
}

impl Going {
    pub(crate) fn new(body: Body, load: Arc<Load>) -> Self {
        Self { body, load }
    }
}

/// Part of an answer that the server holds until the client takes it. The stream's own end does not say so: the
/// server takes the whole answer over as soon as the client takes a byte.
struct Held {
    data: Bytes,
    load: Arc<Load>,
}

impl Held {
    fn hold(data: Bytes, load: &Arc<Load>) -> Bytes {
        load.add(data.len());
        load.wait_for_client();
        let load = Arc::clone(load);
        Bytes::from_owner(Self { data, load })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.load.client_came();
        self.load.shed(self.data.len());
    }
}

impl http_body::Body for Going {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let load = &self.load;
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| Held::hold(data, load)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
