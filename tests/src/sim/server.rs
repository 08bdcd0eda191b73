//! Listens, accepts and serves: HTTP/1.1 and HTTP/2, over TLS or plain.

use std::convert::Infallible;
use std::future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::config::StartError;
use super::router::{self, Handled};
use super::world::World;

/// How long to let a failing `accept` rest, e.g. when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds `first`, and the other loopback addresses among `hosts` on the same port. If the port is ours to choose and
/// another address has it taken, another port is tried.
pub(super) fn bind(first: SocketAddr, hosts: &[String]) -> Result<Vec<std::net::TcpListener>, StartError> {
    const ATTEMPTS: usize = 16;
    let mut bound = bind_once(first, hosts);
    for _ in 1..ATTEMPTS {
        match bound {
            Err(StartError::Listen(_, ref cause))
                if first.port() == 0 && cause.kind() == io::ErrorKind::AddrInUse => {}
            _ => break,
        }
        bound = bind_once(first, hosts);
    }
    bound
}

fn bind_once(first: SocketAddr, hosts: &[String]) -> Result<Vec<std::net::TcpListener>, StartError> {
    let listener = listen(first).map_err(|cause| StartError::Listen(first, cause))?;
    let address = listener
        .local_addr()
        .map_err(|cause| StartError::Listen(first, cause))?;
    let mut listeners = vec![listener];
    if address.ip().is_loopback() {
        let others = hosts.iter().filter_map(|host| host.parse::<IpAddr>().ok());
        for other in others.filter(|ip| ip.is_loopback() && *ip != address.ip()) {
            let other = SocketAddr::new(other, address.port());
            match listen(other) {
                Ok(listener) => listeners.push(listener),
                Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
                    return Err(StartError::Listen(other, cause));
                }
                // Not every machine has ::1 or more than one IPv4 loopback address; then that host is not served.
                Err(_) => {}
            }
        }
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves one listener for ever.
pub(super) async fn serve(world: Arc<World>, listener: TcpListener, tls: Option<TlsAcceptor>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                world.count(|counters| counters.connections += 1);
                tokio::spawn(connection(Arc::clone(&world), stream, peer.ip(), tls.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection. Errors on it are the client's affair.
async fn connection(world: Arc<World>, stream: TcpStream, caller: IpAddr, tls: Option<TlsAcceptor>) {
    stream.set_nodelay(true).ok();
    let Ok((stream, twin)) = with_twin(stream) else {
        return;
    };
    let was_reset = match tls {
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => http(world, stream, caller).await,
            Err(_) => false,
        },
        None => http(world, stream, caller).await,
    };
    if was_reset {
        // Closing a socket that lingers for no time at all sends RST in place of FIN.
        rustix::net::sockopt::set_socket_linger(&twin, Some(Duration::ZERO)).ok();
    }
}

/// A second handle on the socket, which outlives the one that the protocol layers own.
fn with_twin(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let twin = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, twin))
}

/// Serves HTTP until the client closes or a fault asks for a reset; tells which.
async fn http<S>(world: Arc<World>, stream: S, caller: IpAddr) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let reset = Arc::new(Notify::new());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (world, reset) = (Arc::clone(&world), Arc::clone(&reset));
        async move {
            match router::handle(&world, caller, request).await {
                Handled::Answered(response) => Ok::<_, Infallible>(response),
                Handled::Reset => {
                    reset.notify_one();
                    future::pending().await
                }
            }
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The date is the simulated clock's, so hyper must not write its own.
    builder.http1().auto_date_header(false);
    builder.http2().auto_date_header(false);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ended = serving => false,
        () = reset.notified() => true,
    }
}
