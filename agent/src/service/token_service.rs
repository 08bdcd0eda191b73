//! `sfkey.agent.v1.TokenService`.

use futures_util::stream::BoxStream;
use sfkey_proto::{
    PROTOCOL_VERSION,
    v1::{
        GetTokenRequest, GetTokenResponse, ListAccountsRequest, ListAccountsResponse, ReportRejectedRequest,
        ReportRejectedResponse, WatchTokenRequest, WatchTokenResponse, token_service_server::TokenService,
    },
};
use tonic::{Request, Response, Status};

use super::{Service, watch::Tokens};
use crate::{error::Failure, token::Need};

impl Service {
    async fn token(&self, request: Request<GetTokenRequest>) -> Result<GetTokenResponse, Failure> {
        let call = self.admit(&request)?;
        let request = request.into_inner();
        let permit = self.permit(&call, "GetToken", &request.account).await?;
        let need = Need::new(request.min_valid_seconds, request.fresh);
        let token = self.0.accounts.token(permit, need).await?;
        let token = self.deliver(&call, "GetToken", token).await?;
        Ok(GetTokenResponse {
            token: Some(token),
            protocol_version: PROTOCOL_VERSION,
        })
    }

    async fn watch(&self, request: Request<WatchTokenRequest>) -> Result<Tokens, Failure> {
        let call = self.admit(&request)?;
        Tokens::begin(self.clone(), call, &request.get_ref().account).await
    }

    async fn rejected(
        &self,
        request: Request<ReportRejectedRequest>,
    ) -> Result<ReportRejectedResponse, Failure> {
        let call = self.admit(&request)?;
        let request = request.into_inner();
        let hash = request.token_sha256.try_into().map_err(|_| not_a_hash())?;
        let permit = self.permit(&call, "ReportRejected", &request.account).await?;
        let token = self.0.accounts.rejected(permit, hash).await?;
        Ok(ReportRejectedResponse {
            token: Some(self.deliver(&call, "ReportRejected", token).await?),
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

    type WatchTokenStream = BoxStream<'static, Result<WatchTokenResponse, Status>>;

    async fn watch_token(
        &self,
        request: Request<WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        Ok(Response::new(self.watch(request).await?.stream()))
    }

    async fn report_rejected(
        &self,
        request: Request<ReportRejectedRequest>,
    ) -> Result<Response<ReportRejectedResponse>, Status> {
        Ok(Response::new(self.rejected(request).await?))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        Ok(Response::new(self.list(&request)?))
    }
}

fn not_a_hash() -> Failure {
    Failure::Invalid(
        "token_sha256 is not 32 bytes long".to_owned(),
        "send the SHA-256 of the refused token's bytes",
    )
}
