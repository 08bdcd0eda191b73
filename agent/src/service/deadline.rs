//! Gives up a request that takes too long, and says so as every other failure is said.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use tokio::time::timeout;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::error::Failure;

/// Puts a limit of time before a service: the one until its answer begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineLayer(pub(super) Duration);

/// A service that is given up in time.
#[derive(Clone, Debug)]
pub(super) struct Deadline<S> {
    inner: S,
    most: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, most: self.0 }
    }
}

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let most = self.most;
        let answer = timeout(most, self.inner.call(request));
        let answer = answer.map(move |answered| {
            answered.unwrap_or_else(|_| Ok(Status::from(Failure::TookTooLong(most)).into_http()))
        });
        answer.boxed()
    }
}
