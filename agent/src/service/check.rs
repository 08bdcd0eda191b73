//! The stream of what is found out about an account.

use futures_util::{FutureExt, StreamExt, stream, stream::BoxStream};
use sfkey_proto::v1::{CheckAccountRequest, CheckAccountResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Call, Service};
use crate::{
    check::{self, Findings},
    error::Failure,
};

/// Findings that were not taken yet; the check waits beyond that.
const QUEUE: usize = 8;

/// What goes to the one who asked.
pub(super) type FindingStream = BoxStream<'static, Result<CheckAccountResponse, Status>>;

impl Service {
    /// The check runs as part of the stream: it ends with the connection, and whatever token it holds with it.
    pub(super) async fn check(
        &self,
        request: Request<CheckAccountRequest>,
    ) -> Result<FindingStream, Failure> {
        let call = self.admit(&request)?;
        if request.get_ref().askpass {
            return Ok(self.check_askpass(call));
        }
        let CheckAccountRequest { account, probe, .. } = request.into_inner();
        let permit = self.permit(&call, "CheckAccount", &account).await?;
        let (asked, found) = mpsc::channel(QUEUE);
        let service = self.clone();
        let work = async move {
            let _place = call;
            let parts = &service.0;
            let findings = Findings::to(asked);
            // Nobody waits any more: that is no failure.
            check::account(&parts.agent, &parts.accounts, permit, probe, &findings)
                .await
                .ok();
        };
        Ok(stream_of(found, work))
    }

    fn check_askpass(&self, call: Call) -> FindingStream {
        let (asked, found) = mpsc::channel(QUEUE);
        let service = self.clone();
        let work = async move {
            // Nobody waits any more: that is no failure.
            check::askpass(&service.0.confirmer, call.caller.peer(), &Findings::to(asked))
                .await
                .ok();
        };
        stream_of(found, work)
    }
}

/// What is found, while the work goes on.
fn stream_of(
    found: mpsc::Receiver<CheckAccountResponse>,
    work: impl Future<Output = ()> + Send + 'static,
) -> FindingStream {
    let work = work.into_stream().filter_map(|()| std::future::ready(None));
    stream::select(ReceiverStream::new(found).map(Ok), work).boxed()
}
