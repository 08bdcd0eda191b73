//! Accepts connections: peer first, a bounded table, and patience when the system is short of something.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::yield_now,
    time::{Instant, timeout},
};

use crate::{
    agent::Agent,
    audit::Audit,
    connection::{Connection, Connections},
    limits::{ACCEPT_PAUSE, REFUSAL_LOG_PAUSE, ROOM_PAUSE},
    peer::{Peer, PeerRefused, Socket},
    policy::Policy,
};

/// Descriptors that are kept for everything but connections: exchanges, logs, the runtime.
const DESCRIPTORS_KEPT: u64 = 64;

/// What a connection holds: its socket, and the descriptor of the process at its other end.
const DESCRIPTORS_EACH: u64 = 2;

/// The table of open connections of one socket.
#[derive(Clone)]
pub struct Table {
    places: Arc<Semaphore>,
    per_uid: usize,
    connections: Connections,
}

impl Table {
    /// `places` places, or as many as `descriptors` allow if that is less; what is in them is in `connections`.
    #[must_use]
    pub fn for_descriptors(descriptors: u64, places: usize, connections: Connections) -> Self {
        let spare = descriptors.saturating_sub(DESCRIPTORS_KEPT) / DESCRIPTORS_EACH;
        let affordable = usize::try_from(spare).unwrap_or(usize::MAX);
        Self::of(affordable.clamp(1, places), usize::MAX, connections)
    }

    /// A table for another socket: places of its own, `per_uid` of them for one user, but closed together with
    /// this one.
    #[must_use]
    pub fn beside(&self, places: usize, per_uid: usize) -> Self {
        Self::of(places, per_uid, self.connections.clone())
    }

    fn of(places: usize, per_uid: usize, connections: Connections) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            per_uid,
            connections,
        }
    }

    /// The connections in it, and in those beside it.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }
}

/// One socket's way in.
pub struct Entrance {
    /// Which one it is.
    pub socket: Socket,
    /// Its table.
    pub table: Table,
    /// Who is answered there.
    pub policy: Arc<Policy>,
    /// Counters.
    pub agent: Arc<Agent>,
    /// Where refusals are recorded.
    pub audit: Audit,
}

/// Accepts until the receiver is gone. A connection holds its place until it closes; when the table is full, one that
/// is of no use makes room, and when all of them are, the kernel's queue holds the next ones.
pub async fn accept(
    listener: UnixListener,
    entrance: Entrance,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let mut pause = ACCEPT_PAUSE.0;
    let mut refusals = Refusals::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                pause = ACCEPT_PAUSE.0;
                let peer = match entrance.identify(&stream) {
                    Ok(peer) => peer,
                    Err(refused) => {
                        refusals.tell(&refused);
                        continue;
                    }
                };
                let place = entrance.place().await;
                let table = entrance.table.connections.clone();
                let connection = Connection::new(stream, peer, table, place);
                if connections.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => pause = wait_out(&error, pause).await,
        }
    }
}

impl Entrance {
    /// A place in the table.
    async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            while self.table.connections.is_overloaded(self.socket) {
                yield_now().await;
            }
            if let Ok(place) = Arc::clone(&self.table.places).try_acquire_owned() {
                return place;
            }
            self.table.connections.make_room(self.socket);
            // Another one may have become idle by then.
            let freed = timeout(ROOM_PAUSE, Arc::clone(&self.table.places).acquire_owned());
            if let Ok(place) = freed.await {
                return place.expect("the semaphore is never closed");
            }
        }
    }

    fn identify(&self, stream: &UnixStream) -> Result<Peer, PeerRefused> {
        let admitted = Peer::at_accept(stream, self.socket, |peer| self.policy.answers(peer));
        let admitted = admitted.and_then(|peer| match self.table.per_uid {
            most if self.table.connections.open_of(self.socket, peer.uid()) < most => Ok(peer),
            most => Err(PeerRefused::TooMany {
                uid: peer.uid(),
                most,
            }),
        });
        match &admitted {
            Ok(peer) => {
                tracing::debug!(uid = peer.uid(), pid = peer.pid(), socket = ?self.socket, "connection accepted");
            }
            Err(refused) => {
                self.agent.counters.connections_refused.add();
                if let PeerRefused::Foreign { uid, pid } = refused {
                    self.audit.refused(*uid, *pid);
                }
            }
        }
        admitted
    }
}

/// Tells the log of refused connections, but not of each when there are many.
#[derive(Default)]
struct Refusals {
    told: Option<Instant>,
    untold: u64,
}

impl Refusals {
    fn tell(&mut self, refused: &PeerRefused) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < REFUSAL_LOG_PAUSE) {
            self.untold += 1;
            return;
        }
        tracing::warn!(%refused, others_before = self.untold, "connection refused");
        (self.told, self.untold) = (Some(now), 0);
    }
}

/// Waits `pause` and returns the next, longer one. Trying again at once would spin until a descriptor is free.
async fn wait_out(error: &io::Error, pause: Duration) -> Duration {
    if pause == ACCEPT_PAUSE.0 {
        tracing::warn!(%error, "connections cannot be accepted at the moment");
    }
    tokio::time::sleep(pause).await;
    (pause * 2).min(ACCEPT_PAUSE.1)
}
