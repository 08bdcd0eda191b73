//! Takes every request into account that its connection holds, ahead of the gate: half of it costs memory, too.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::connection::{Caller, Coming, Going};

/// Puts the scales before a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct WeighLayer;

/// A service behind the scales.
#[derive(Clone, Debug)]
pub(super) struct Weigh<S>(S);

impl<S> Layer<S> for WeighLayer {
    type Service = Weigh<S>;

    fn layer(&self, inner: S) -> Weigh<S> {
        Weigh(inner)
    }
}

impl<S> Service<Request<Body>> for Weigh<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(caller) = request.extensions().get::<Caller>() else {
            // Whoever serves it refuses what came without a connection.
            return self.0.call(request).boxed();
        };
        let load = Arc::new(caller.begin());
        let coming = Arc::clone(&load);
        let answer = self
            .0
            .call(request.map(|body| Body::new(Coming::new(body, coming))));
        let answer =
            answer.map(|answer| answer.map(|answer| answer.map(|body| Body::new(Going::new(body, load)))));
        answer.boxed()
    }
}
