//! `sfkey.agent.v1.AgentService`.

use std::time::Duration;

use sfkey_proto::{
    PROTOCOL_VERSION,
    sealing::KEY_LIFETIME_SECONDS,
    v1::{
        AddAccountRequest, AddAccountResponse, CheckAccountRequest, GetSealingKeyRequest,
        GetSealingKeyResponse, GetStatusRequest, GetStatusResponse, LockRequest, LockResponse, LockSpec,
        LoginBudget, Outage, PanicRequest, PanicResponse, RemoveAccountRequest, RemoveAccountResponse,
        RemoveAllAccountsRequest, RemoveAllAccountsResponse, RevokeTokenRequest, RevokeTokenResponse,
        ShutdownRequest, ShutdownResponse, UnlockRequest, UnlockResponse, UnlockSpec, WhoAmIRequest,
        WhoAmIResponse, add_account_response::Outcome, agent_service_server::AgentService,
    },
};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{Service, check::FindingStream, revoke::revoke_all};
use crate::{clock::Now, error::Failure, hardening, peer::Socket, socket::Standing};

impl Service {
    fn status(&self, request: &Request<GetStatusRequest>) -> Result<GetStatusResponse, Failure> {
        self.admit(request)?;
        let parts = &self.0;
        let counters = &parts.agent.counters;
        let now = parts.agent.clock.now();
        let logins = parts.agent.logins.report(now);
        Ok(GetStatusResponse {
            hold_offs: parts.accounts.hold_offs(),
            login_budgets: logins
                .budgets
                .into_iter()
                .map(|budget| shown_budget(budget, now))
                .collect(),
            outages: logins
                .outages
                .into_iter()
                .map(|outage| shown_outage(outage, now))
                .collect(),
            introspections: counters.introspections.value(),
            introspection_failures: counters.introspection_failures.value(),
            rejections: counters.rejections.value(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: PROTOCOL_VERSION,
            instance_id: parts.instance_id.to_vec(),
            pid: parts.pid,
            socket: parts.socket.clone(),
            locked: *parts.agent.locked.borrow(),
            memory_protection: parts.agent.custody.protection().into(),
            dumpable: parts.hardening.dumpable,
            core_limit: parts.hardening.core_limit,
            swap: hardening::swap_in_use(),
            account_count: count(parts.accounts.count()),
            clock_skew_seconds: counters.skew(),
            started_at: parts.started_at,
            token_requests: counters.token_requests.value(),
            cache_hits: counters.cache_hits.value(),
            exchanges: counters.exchanges.value(),
            exchange_failures: counters.exchange_failures.value(),
            connections: count(parts.table.connections().open()),
            connections_refused: counters.connections_refused.value(),
            settings_file: parts.settings_file.borrow().clone(),
            token_socket: parts.token_socket.clone(),
            audit_log: parts.audit_log.clone(),
            audit_records: counters.audit_records.value(),
            audit_failures: counters.audit_failures.value(),
            denials: counters.denials.value(),
            token_connections: count(parts.table.connections().open_at(Socket::Token)),
            socket_activated: parts.socket_activated,
            socket_lost: *parts.standing.borrow() != Standing::Own,
            token_socket_lost: *parts.token_standing.borrow() != Standing::Own,
        })
    }

    fn sealing_key(&self, request: &Request<GetSealingKeyRequest>) -> Result<GetSealingKeyResponse, Failure> {
        let call = self.admit(request)?;
        Ok(GetSealingKeyResponse {
            public_key: call.caller.make_sealing_key().to_vec(),
            instance_id: self.0.instance_id.to_vec(),
            valid_for_seconds: KEY_LIFETIME_SECONDS,
        })
    }

    async fn add(&self, request: Request<AddAccountRequest>) -> Result<AddAccountResponse, Failure> {
        let call = self.admit(&request)?;
        let AddAccountRequest { enc, ciphertext } = request.into_inner();
        let spec = self.open(&call.caller, enc, ciphertext)?;
        let control = self.0.policy.control(call.caller.peer())?;
        let (account, outcome) = self.0.accounts.add(control, spec).await?;
        if outcome == Outcome::Replaced {
            self.0.audit.replaced(call.caller.peer(), &account.account).await;
        }
        Ok(AddAccountResponse {
            account: Some(account),
            outcome: outcome.into(),
        })
    }

    async fn turn_lock(&self, request: Request<LockRequest>) -> Result<LockResponse, Failure> {
        let call = self.admit(&request)?;
        let LockRequest { enc, ciphertext } = request.into_inner();
        let mut spec: LockSpec = self.open(&call.caller, enc, ciphertext)?;
        let control = self.0.policy.control(call.caller.peer())?;
        let passphrase = Zeroizing::new(std::mem::take(&mut spec.passphrase));
        self.0.lock.lock(control, &call.caller, passphrase).await?;
        Ok(LockResponse {})
    }

    async fn turn_unlock(&self, request: Request<UnlockRequest>) -> Result<UnlockResponse, Failure> {
        let call = self.admit(&request)?;
        let UnlockRequest { enc, ciphertext } = request.into_inner();
        let mut spec: UnlockSpec = self.open(&call.caller, enc, ciphertext)?;
        let control = self.0.policy.control(call.caller.peer())?;
        let passphrase = Zeroizing::new(std::mem::take(&mut spec.passphrase));
        self.0.lock.unlock(control, &call.caller, passphrase).await?;
        Ok(UnlockResponse {})
    }

    fn remove(&self, request: &Request<RemoveAccountRequest>) -> Result<RemoveAccountResponse, Failure> {
        let call = self.admit(request)?;
        let control = self.0.policy.control(call.caller.peer())?;
        self.0.accounts.remove(control, &request.get_ref().account)?;
        Ok(RemoveAccountResponse {})
    }

    fn remove_all(
        &self,
        request: &Request<RemoveAllAccountsRequest>,
    ) -> Result<RemoveAllAccountsResponse, Failure> {
        let call = self.admit(request)?;
        let control = self.0.policy.control(call.caller.peer())?;
        let removed = self.0.accounts.remove_all(control);
        // Buffers of the others may still hold tokens that they delivered.
        self.0.table.connections().close_others(&call.caller);
        Ok(RemoveAllAccountsResponse {
            removed: u32::try_from(removed).unwrap_or(u32::MAX),
        })
    }

    async fn revoke(&self, request: Request<RevokeTokenRequest>) -> Result<RevokeTokenResponse, Failure> {
        let call = self.admit(&request)?;
        let control = self.0.policy.control(call.caller.peer())?;
        let permit = self
            .permit(&call, "RevokeToken", &request.get_ref().account)
            .await?;
        let revoked = self.0.accounts.revoke(control, permit).await?;
        Ok(RevokeTokenResponse { revoked })
    }

    async fn who(&self, request: Request<WhoAmIRequest>) -> Result<WhoAmIResponse, Failure> {
        let call = self.admit(&request)?;
        let permit = self.permit(&call, "WhoAmI", &request.get_ref().account).await?;
        let (token, user) = self.0.accounts.who_am_i(permit).await?;
        Ok(WhoAmIResponse {
            account: token.account.clone(),
            user_id: user.user_id,
            org_id: user.org_id,
            username: user.username,
            name: user.name,
            email: user.email,
            instance_url: token.instance_url.clone(),
        })
    }

    /// Wipes first; what Salesforce says to the revocations is only reported.
    async fn forget_all(&self, request: Request<PanicRequest>) -> Result<PanicResponse, Failure> {
        let call = self.admit(&request)?;
        let control = self.0.policy.control(call.caller.peer())?;
        let surrendered = self.0.accounts.surrender_all(control).await;
        let renewed = self.0.agent.custody.forget();
        self.0.locked.send_replace(renewed.is_err());
        self.0.table.connections().close_others(&call.caller);
        tracing::warn!(
            tokens = surrendered.len(),
            "panic: keys, tokens and the master secret are wiped"
        );
        Ok(PanicResponse {
            revocations: revoke_all(&*self.0.agent.endpoint, surrendered).await,
        })
    }

    fn shut_down(&self, request: &Request<ShutdownRequest>) -> Result<ShutdownResponse, Failure> {
        let call = self.admit(request)?;
        self.0.policy.control(call.caller.peer())?;
        tracing::info!(pid = call.caller.peer().pid(), "stop requested");
        self.0.stop.request();
        Ok(ShutdownResponse {})
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl AgentService for Service {
    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(self.status(&request)?))
    }

    async fn get_sealing_key(
        &self,
        request: Request<GetSealingKeyRequest>,
    ) -> Result<Response<GetSealingKeyResponse>, Status> {
        Ok(Response::new(self.sealing_key(&request)?))
    }

    async fn add_account(
        &self,
        request: Request<AddAccountRequest>,
    ) -> Result<Response<AddAccountResponse>, Status> {
        Ok(Response::new(self.add(request).await?))
    }

    async fn remove_account(
        &self,
        request: Request<RemoveAccountRequest>,
    ) -> Result<Response<RemoveAccountResponse>, Status> {
        Ok(Response::new(self.remove(&request)?))
    }

    async fn remove_all_accounts(
        &self,
        request: Request<RemoveAllAccountsRequest>,
    ) -> Result<Response<RemoveAllAccountsResponse>, Status> {
        Ok(Response::new(self.remove_all(&request)?))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        Ok(Response::new(self.revoke(request).await?))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        Ok(Response::new(self.who(request).await?))
    }

    type CheckAccountStream = FindingStream;

    async fn check_account(
        &self,
        request: Request<CheckAccountRequest>,
    ) -> Result<Response<Self::CheckAccountStream>, Status> {
        Ok(Response::new(self.check(request).await?))
    }

    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        Ok(Response::new(self.turn_lock(request).await?))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        Ok(Response::new(self.turn_unlock(request).await?))
    }

    async fn panic(&self, request: Request<PanicRequest>) -> Result<Response<PanicResponse>, Status> {
        Ok(Response::new(self.forget_all(request).await?))
    }

    async fn shutdown(
        &self,
        request: Request<ShutdownRequest>,
    ) -> Result<Response<ShutdownResponse>, Status> {
        Ok(Response::new(self.shut_down(&request)?))
    }
}

fn shown_budget(
    (login_url, username, left, next): (String, String, u32, Option<Duration>),
    now: Now,
) -> LoginBudget {
    LoginBudget {
        login_url,
        username,
        left,
        next_at: next.map(|next| now.wall_at(next)),
    }
}

fn shown_outage((login_url, until): (String, Duration), now: Now) -> Outage {
    Outage {
        login_url,
        until: now.wall_at(until),
    }
}
