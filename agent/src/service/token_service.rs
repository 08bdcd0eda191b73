//! `sfkey.agent.v1.TokenService`.

use sfkey_proto::{
    PROTOCOL_VERSION,
    v1::{
        GetTokenRequest, GetTokenResponse, ListAccountsRequest, ListAccountsResponse, ReportRejectedRequest,
        ReportRejectedResponse, WatchTokenRequest, WatchTokenResponse, token_service_server::TokenService,
    },
};
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use super::Service;
use crate::{error::Failure, token::Need};

impl Service {
    async fn token(&self, request: Request<GetTokenRequest>) -> Result<GetTokenResponse, Failure> {
        let call = self.admit(&request)?;
        let request = request.into_inner();
        let permit = self.permit(&call, &request.account).await?;
        let need = Need::new(request.min_valid_seconds, request.fresh);
        let token = self.0.accounts.token(permit, need).await?;
        Ok(GetTokenResponse {
            token: Some(token),
            protocol_version: PROTOCOL_VERSION,
        })
    }

    fn list(&self, request: &Request<ListAccountsRequest>) -> Result<ListAccountsResponse, Failure> {
        let call = self.admit(request)?;
        let peer = call.caller.peer();
        let accounts = self
            .0
            .accounts
            .list(|account| self.0.policy.permit(peer, account).is_ok());
        Ok(ListAccountsResponse {
            accounts,
            protocol_version: PROTOCOL_VERSION,
        })
    }
}

#[tonic::async_trait]
impl TokenService for Service {
    async fn get_token(
        &self,
        request: Request<GetTokenRequest>,
    ) -> Result<Response<GetTokenResponse>, Status> {
        Ok(Response::new(self.token(request).await?))
    }

    type WatchTokenStream = Empty<Result<WatchTokenResponse, Status>>;

    async fn watch_token(
        &self,
        _: Request<WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        Err(Failure::Unimplemented("WatchToken").into())
    }

    async fn report_rejected(
        &self,
        _: Request<ReportRejectedRequest>,
    ) -> Result<Response<ReportRejectedResponse>, Status> {
        Err(Failure::Unimplemented("ReportRejected").into())
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        Ok(Response::new(self.list(&request)?))
    }
}
