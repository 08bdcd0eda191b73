//! Accepts connections: peer first, a bounded table, and patience when the system is short of something.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{OwnedPermit, Sender, error::SendError},
    },
    task::yield_now,
    time::{Instant, sleep_until, timeout},
};

use super::lobby::{Lobby, Newcomer};
use crate::{
    agent::Agent,
    audit::Audit,
    connection::{Connection, Connections},
    limits::{ACCEPT_PAUSE, ACCEPTED_AT_ONCE, LOBBY, REFUSAL_LOG_PAUSE, ROOM_PAUSE},
    peer::{Party, Peer, PeerRefused, Socket},
    policy::Policy,
};

/// Descriptors that are kept for everything but connections: exchanges, logs, the runtime.
const DESCRIPTORS_KEPT: u64 = 64;

/// What a connection holds: its socket, and the descriptor of the process at its other end.
const DESCRIPTORS_EACH: u64 = 2;

/// The way to the server.
type Handover = Sender<io::Result<Connection>>;

/// A place on it.
type Reserved = OwnedPermit<io::Result<Connection>>;

/// The table of open connections of one socket.
#[derive(Clone)]
pub struct Table {
    places: Arc<Semaphore>,
    lobby: usize,
    /// Kept for the one beside it.
    beside: usize,
    per_uid: usize,
    connections: Connections,
}

impl Table {
    /// `places` places, or as many as `descriptors` allow if that is less; what is in them is in `connections`.
    /// `beside` places, if any, are kept for another table and its lobby, at most a quarter of them all.
    #[must_use]
    pub fn for_descriptors(descriptors: u64, places: usize, beside: usize, connections: Connections) -> Self {
        let spare = descriptors.saturating_sub(DESCRIPTORS_KEPT) / DESCRIPTORS_EACH;
        let affordable = usize::try_from(spare).unwrap_or(usize::MAX);
        let beside = match beside {
            0 => 0,
            places => places.saturating_add(LOBBY).min(affordable / 4),
        };
        Self {
            beside,
            ..Self::within(affordable - beside, places, usize::MAX, connections)
        }
    }

    /// A table for another socket: places of its own, `per_uid` of them for one user, but closed together with
    /// this one.
    #[must_use]
    pub fn beside(&self, places: usize, per_uid: usize) -> Self {
        Self::within(self.beside, places, per_uid, self.connections.clone())
    }

    fn within(affordable: usize, places: usize, per_uid: usize, connections: Connections) -> Self {
        let lobby = (affordable / 8).clamp(1, LOBBY);
        let places = affordable.saturating_sub(lobby).clamp(1, places);
        Self {
            places: Arc::new(Semaphore::new(places)),
            lobby,
            beside: 0,
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
/// is of no use makes room, and when all of them are, the next ones wait: some here, the others in the kernel's queue.
pub async fn accept(listener: UnixListener, entrance: Entrance, connections: Handover) {
    let lobby = Mutex::new(Lobby::new(entrance.table.lobby));
    let inside = || lobby.lock().unwrap_or_else(PoisonError::into_inner);
    let mut arrivals = Arrivals::of(listener);
    let mut refusals = Refusals::default();
    let mut place = pin!(entrance.place(&connections, &lobby));
    loop {
        tokio::select! {
            biased;
            found = &mut place, if !inside().is_empty() => {
                let Ok((place_in_table, handover)) = found else {
                    return;
                };
                place.set(entrance.place(&connections, &lobby));
                let table = &entrance.table.connections;
                if let Some(Newcomer { stream, peer }) = inside().next(|party| table.of(party)) {
                    handover.send(Ok(Connection::new(stream, peer, table.clone(), place_in_table)));
                }
            }
            stream = arrivals.next(), if inside().is_open() => {
                if let Err(refused) = entrance.let_in(stream, &mut inside()) {
                    refusals.tell(&entrance.refuse(refused));
                }
            }
            () = connections.closed() => return,
        }
    }
}

/// Accepts one after the other, with patience when the system is short of something.
struct Arrivals {
    listener: UnixListener,
    /// When it is tried again after a failure, and how long the pause is after the next one.
    retry: Option<Instant>,
    pause: Duration,
    /// Since others had their turn.
    at_once: usize,
}

impl Arrivals {
    fn of(listener: UnixListener) -> Self {
        Self {
            listener,
            retry: None,
            pause: ACCEPT_PAUSE.0,
            at_once: 0,
        }
    }

    /// The next one. Nothing is lost when this is dropped while it waits.
    async fn next(&mut self) -> UnixStream {
        loop {
            if self.at_once == ACCEPTED_AT_ONCE {
                self.at_once = 0;
                yield_now().await;
            }
            if let Some(retry) = self.retry {
                sleep_until(retry).await;
            }
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.at_once += 1;
                    (self.retry, self.pause) = (None, ACCEPT_PAUSE.0);
                    return stream;
                }
                Err(error) => self.wait_out(&error),
            }
        }
    }

    /// Trying again at once would spin until a descriptor is free.
    fn wait_out(&mut self, error: &io::Error) {
        if self.pause == ACCEPT_PAUSE.0 {
            tracing::warn!(%error, "connections cannot be accepted at the moment");
        }
        self.retry = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(ACCEPT_PAUSE.1);
    }
}

impl Entrance {
    /// A place in the table, and one on the way to the server. Fails when the server is gone.
    async fn place(
        &self,
        connections: &Handover,
        lobby: &Mutex<Lobby>,
    ) -> Result<(OwnedSemaphorePermit, Reserved), SendError<()>> {
        let handover = connections.clone().reserve_owned().await?;
        loop {
            while self.table.connections.is_overloaded(self.socket) {
                yield_now().await;
            }
            if let Ok(place) = Arc::clone(&self.table.places).try_acquire_owned() {
                return Ok((place, handover));
            }
            if let Some(next) = self.next_party(lobby) {
                self.table.connections.make_room(next);
            }
            // Another one may have become idle by then.
            let freed = timeout(ROOM_PAUSE, Arc::clone(&self.table.places).acquire_owned());
            if let Ok(place) = freed.await {
                return Ok((place.expect("the semaphore is never closed"), handover));
            }
        }
    }

    /// Lets `stream` into the lobby. Whoever is refused for that may be another one.
    fn let_in(&self, stream: UnixStream, lobby: &mut Lobby) -> Result<(), PeerRefused> {
        let peer = self.identify(&stream, lobby)?;
        match lobby.enter(Newcomer { stream, peer }) {
            None => Ok(()),
            Some(Newcomer { peer, .. }) => Err(PeerRefused::Crowd {
                uid: peer.uid(),
                pid: peer.pid(),
            }),
        }
    }

    fn next_party(&self, lobby: &Mutex<Lobby>) -> Option<Party> {
        let lobby = lobby.lock().unwrap_or_else(PoisonError::into_inner);
        lobby.next_party(|party| self.table.connections.of(party))
    }

    fn refuse(&self, refused: PeerRefused) -> PeerRefused {
        self.agent.counters.connections_refused.add();
        if let PeerRefused::Foreign { uid, pid } = refused {
            self.audit.refused(uid, pid);
        }
        refused
    }

    fn identify(&self, stream: &UnixStream, lobby: &Lobby) -> Result<Peer, PeerRefused> {
        let peer = Peer::at_accept(stream, self.socket, |peer| self.policy.answers(peer))?;
        let (uid, most) = (peer.uid(), self.table.per_uid);
        let open = || self.table.connections.open_of(self.socket, uid) + lobby.of_user(uid);
        if most < usize::MAX && open() >= most {
            return Err(PeerRefused::TooMany { uid, most });
        }
        tracing::debug!(uid, pid = peer.pid(), socket = ?self.socket, "connection accepted");
        Ok(peer)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn places(table: &Table) -> usize {
        table.places.available_permits()
    }

    #[test]
    fn both_tables_and_their_lobbies_have_no_more_than_the_descriptors_that_there_are() {
        for (descriptors, main, token) in [
            (8192, 512, 128),
            (8192, 4000, 1024),
            (1024, 512, 128),
            (96, 512, 128),
            (10, 1, 1),
        ] {
            let table = Table::for_descriptors(descriptors, main, token, Connections::new(1));
            let beside = table.beside(token, usize::MAX);
            assert!(places(&table) >= 1 && places(&beside) >= 1);
            let most = places(&table) + table.lobby + places(&beside) + beside.lobby;
            let kept = u64::try_from(most).expect("few") * DESCRIPTORS_EACH + DESCRIPTORS_KEPT;
            assert!(
                kept <= descriptors.max(DESCRIPTORS_KEPT + 8),
                "{descriptors}: {kept}"
            );
        }
        let alone = Table::for_descriptors(8192, 4000, 0, Connections::new(1));
        assert_eq!(places(&alone), 4000);
    }
}
