//! The one gate for "locked", ahead of dispatch: what is not named here is refused, whatever it may be.

use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::sync::watch;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::error::Failure;

/// What answers while the agent is locked.
const WHILE_LOCKED: [&str; 9] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/sfkey.agent.v1.AgentService/GetStatus",
    "/sfkey.agent.v1.AgentService/GetSealingKey",
    "/sfkey.agent.v1.AgentService/Unlock",
    "/sfkey.agent.v1.AgentService/RemoveAccount",
    "/sfkey.agent.v1.AgentService/RemoveAllAccounts",
    "/sfkey.agent.v1.AgentService/Panic",
    "/sfkey.agent.v1.AgentService/Shutdown",
];

/// Puts the gate before a service.
#[derive(Clone, Debug)]
pub(super) struct GateLayer(pub(super) watch::Receiver<bool>);

/// A service behind the gate.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    locked: watch::Receiver<bool>,
    inner: S,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            locked: self.0.clone(),
            inner,
        }
    }
}

impl<S, B> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        futures_util::future::Either<std::future::Ready<Result<Self::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        use futures_util::future::Either;

        if *self.locked.borrow() && !WHILE_LOCKED.contains(&request.uri().path()) {
            let refused = Status::from(Failure::Locked).into_http();
            return Either::Left(std::future::ready(Ok(refused)));
        }
        Either::Right(self.inner.call(request))
    }
}
