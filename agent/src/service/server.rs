//! The gRPC servers over accepted connections, all behind the peer check: both services, health and reflection on
//! the main socket, the token service and health on the restricted one.

use std::io;

use sfkey_proto::{
    FILE_DESCRIPTOR_SET, MAX_REPLY_BYTES, MAX_REQUEST_BYTES,
    v1::{agent_service_server::AgentServiceServer, token_service_server::TokenServiceServer},
};
use tokio_stream::Stream;
use tonic::transport::{Error, Server};
use tower::layer::util::{Identity, Stack};

use super::{Service, deadline::DeadlineLayer, gate::GateLayer, weigh::WeighLayer};
use crate::{
    connection::Connection,
    limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIME, MAX_HEADER_BYTES, MAX_STREAMS_PER_CONNECTION},
};

/// Resets of a client that the server remembers at once; more are an attack (CVE-2023-44487).
const MAX_RESETS: usize = 64;

/// Streams that the server refuses a client, for it had as many open as it may; more are an attack. A client may well
/// begin a hundred before it has read how many that are.
const MAX_REFUSED: usize = 128;

/// Largest request of `TokenService`, in bytes: a name and a hash.
const MAX_TOKEN_REQUEST_BYTES: usize = 1024;

/// Serves everything to `connections` of the main socket until `stop` ends, then lets the requests in work end.
///
/// # Errors
/// When the server itself fails; a broken connection is no failure.
pub async fn serve(
    service: Service,
    connections: impl Stream<Item = io::Result<Connection>>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<TokenServiceServer<Service>>().await;
    health.set_serving::<AgentServiceServer<Service>>().await;
    let tokens = tokens(&service);
    let agent = AgentServiceServer::new(service.clone())
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_REPLY_BYTES);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let readable = "the descriptors were compiled in, and a test reads them";
    bounded(&service)
        .add_service(tokens)
        .add_service(agent)
        .add_service(health_service)
        .add_service(reflection().build_v1().expect(readable))
        .add_service(reflection().build_v1alpha().expect(readable))
        .serve_with_incoming_shutdown(connections, stop)
        .await
}

/// Serves tokens and health, and nothing else, to `connections` of the restricted socket.
///
/// # Errors
/// When the server itself fails; a broken connection is no failure.
pub async fn serve_tokens(
    service: Service,
    connections: impl Stream<Item = io::Result<Connection>>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<TokenServiceServer<Service>>().await;
    bounded(&service)
        .add_service(tokens(&service))
        .add_service(health_service)
        .serve_with_incoming_shutdown(connections, stop)
        .await
}

fn tokens(service: &Service) -> TokenServiceServer<Service> {
    TokenServiceServer::new(service.clone())
        .max_decoding_message_size(MAX_TOKEN_REQUEST_BYTES)
        .max_encoding_message_size(MAX_REPLY_BYTES)
}

/// What every request passes, the last one first.
type Layers = Stack<GateLayer, Stack<DeadlineLayer, Stack<WeighLayer, Identity>>>;

/// A server with the bounds of every connection, the scales, the limit of time, and the gate.
fn bounded(service: &Service) -> Server<Layers> {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_REFUSED))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIME))
        .layer(WeighLayer)
        .layer(DeadlineLayer(service.0.request_time))
        .layer(GateLayer(service.0.agent.locked.clone()))
}
