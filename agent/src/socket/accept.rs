//! Accepts connections: peer first, a bounded table, and patience when the system is short of something.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
};

use crate::{
    agent::Agent,
    connection::{Connection, Connections},
    limits::{ACCEPT_PAUSE, MAX_CONNECTIONS},
    peer::Peer,
};

/// Descriptors that are kept for everything but connections: exchanges, logs, the runtime.
const DESCRIPTORS_KEPT: u64 = 64;

/// The table of open connections.
#[derive(Clone)]
pub struct Table {
    places: Arc<Semaphore>,
    connections: Connections,
}

impl Table {
    /// As many places as `descriptors` allow, [`MAX_CONNECTIONS`] at most.
    #[must_use]
    pub fn for_descriptors(descriptors: u64) -> Self {
        let affordable = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_KEPT)).unwrap_or(usize::MAX);
        let size = affordable.clamp(1, MAX_CONNECTIONS);
        Self {
            places: Arc::new(Semaphore::new(size)),
            connections: Connections::default(),
        }
    }

    /// The connections in it.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }
}

/// Accepts until the receiver is gone. A connection holds its place until it closes; when the table is full
/// the kernel's queue holds the next ones.
pub async fn accept(
    listener: UnixListener,
    owner: u32,
    table: Table,
    agent: Arc<Agent>,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        let place = Arc::clone(&table.places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                pause = ACCEPT_PAUSE.0;
                let Some(peer) = identify(&stream, owner, &agent) else {
                    continue;
                };
                if connections
                    .send(Ok(Connection::new(
                        stream,
                        peer,
                        table.connections.clone(),
                        place,
                    )))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => pause = wait_out(&error, pause).await,
        }
    }
}

fn identify(stream: &UnixStream, owner: u32, agent: &Agent) -> Option<Peer> {
    match Peer::at_accept(stream, owner) {
        Ok(peer) => {
            tracing::debug!(pid = peer.pid(), "connection accepted");
            Some(peer)
        }
        Err(refused) => {
            agent.counters.connections_refused.add();
            tracing::warn!(%refused, "connection refused");
            None
        }
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
