//! The JSON objects of the contract. Every key is always present; what is not known is null.

use serde::Serialize;
use sfkey::proto::v1::{
    Account, AddAccountResponse, ExpirySource, GetStatusResponse, HoldOff, LoginBudget, MemoryProtection,
    Outage, Token, TokenState, WhoAmIResponse, add_account_response::Outcome, panic_response::Revocation,
    token_state::State,
};

use crate::commands::audit::Record;

/// What `sfkey token --json` prints.
#[derive(Serialize)]
pub(super) struct TokenObject<'a> {
    account: &'a str,
    access_token: &'a str,
    token_type: &'a str,
    instance_url: &'a str,
    expires_at: i64,
    expiry_source: Option<&'static str>,
    issued_at: i64,
    scope: Option<&'a str>,
    id: Option<&'a str>,
    org_id: Option<&'a str>,
    user_id: Option<&'a str>,
    username: &'a str,
    warnings: &'a [String],
}

impl<'a> From<&'a Token> for TokenObject<'a> {
    fn from(token: &'a Token) -> Self {
        Self {
            account: &token.account,
            access_token: &token.access_token,
            token_type: &token.token_type,
            instance_url: &token.instance_url,
            expires_at: token.expires_at,
            expiry_source: expiry_source(token.expiry_source()),
            issued_at: token.issued_at,
            scope: token.scope.as_deref(),
            id: token.id.as_deref(),
            org_id: token.org_id.as_deref(),
            user_id: token.user_id.as_deref(),
            username: &token.username,
            warnings: &token.warnings,
        }
    }
}

/// What `sfkey token -o sf` prints: the object of `sf org auth show-access-token --json` (plugin-org 6).
#[derive(Serialize)]
pub(super) struct SfObject<'a> {
    status: u8,
    result: SfResult<'a>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct SfResult<'a> {
    #[serde(rename = "accessToken")]
    access_token: &'a str,
}

impl<'a> SfObject<'a> {
    pub(super) fn new(token: &'a Token, warnings: Vec<String>) -> Self {
        let access_token = token.access_token.as_str();
        Self {
            status: 0,
            result: SfResult { access_token },
            warnings,
        }
    }
}

/// What `sfkey list --json` prints.
#[derive(Serialize)]
pub(super) struct AccountsObject<'a> {
    accounts: Vec<AccountObject<'a>>,
}

impl<'a> From<&'a [Account]> for AccountsObject<'a> {
    fn from(accounts: &'a [Account]) -> Self {
        Self {
            accounts: accounts.iter().map(AccountObject::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct AccountObject<'a> {
    account: &'a str,
    default: bool,
    username: &'a str,
    login_url: &'a str,
    audience: &'a str,
    consumer_key: &'a str,
    key_fingerprint: &'a str,
    lifetime_ends_at: Option<i64>,
    idle_ends_at: Option<i64>,
    token: TokenStateObject,
    last_error: Option<&'a str>,
}

#[derive(Serialize)]
struct TokenStateObject {
    state: Option<&'static str>,
    expires_at: Option<i64>,
    expiry_source: Option<&'static str>,
}

impl<'a> From<&'a Account> for AccountObject<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            account: &account.account,
            default: account.is_default,
            username: &account.username,
            login_url: &account.login_url,
            audience: &account.audience,
            consumer_key: &account.consumer_key,
            key_fingerprint: &account.key_fingerprint,
            lifetime_ends_at: account.lifetime_ends_at,
            idle_ends_at: account.idle_ends_at,
            token: account.token.as_ref().into(),
            last_error: account.last_error.as_deref(),
        }
    }
}

impl From<Option<&TokenState>> for TokenStateObject {
    fn from(token: Option<&TokenState>) -> Self {
        Self {
            state: token.and_then(|token| token_state(token.state())),
            expires_at: token.and_then(|token| token.expires_at),
            expiry_source: token.and_then(|token| expiry_source(token.expiry_source())),
        }
    }
}

/// What `sfkey add --json` prints.
#[derive(Serialize)]
pub(super) struct AddedObject<'a> {
    outcome: Option<&'static str>,
    #[serde(flatten)]
    account: Option<AccountObject<'a>>,
}

impl<'a> From<&'a AddAccountResponse> for AddedObject<'a> {
    fn from(added: &'a AddAccountResponse) -> Self {
        Self {
            outcome: match added.outcome() {
                Outcome::Added => Some("added"),
                Outcome::Unchanged => Some("unchanged"),
                Outcome::Replaced => Some("replaced"),
                Outcome::Unspecified => None,
            },
            account: added.account.as_ref().map(AccountObject::from),
        }
    }
}

/// What `sfkey add --all --json` prints.
#[derive(Serialize)]
pub(super) struct AllAddedObject<'a> {
    accounts: Vec<AddedObject<'a>>,
}

impl<'a> From<&'a [AddAccountResponse]> for AllAddedObject<'a> {
    fn from(added: &'a [AddAccountResponse]) -> Self {
        Self {
            accounts: added.iter().map(AddedObject::from).collect(),
        }
    }
}

/// What `sfkey audit --json` prints.
#[derive(Serialize)]
pub(super) struct RecordsObject<'a> {
    pub(super) records: &'a [Record],
}

/// What `sfkey status --json` prints.
#[derive(Serialize)]
pub(super) struct StatusObject<'a> {
    version: &'a str,
    protocol_version: u32,
    pid: u32,
    socket: &'a str,
    locked: bool,
    memory_protection: Option<&'static str>,
    dumpable: bool,
    core_limit: u64,
    swap: bool,
    account_count: u32,
    clock_skew_seconds: Option<i64>,
    started_at: i64,
    token_requests: u64,
    cache_hits: u64,
    exchanges: u64,
    exchange_failures: u64,
    connections: u32,
    connections_refused: u64,
    settings_file: Option<&'a str>,
    token_socket: Option<&'a str>,
    token_connections: u32,
    denials: u64,
    audit_log: Option<&'a str>,
    audit_records: u64,
    audit_failures: u64,
    socket_activated: bool,
    socket_lost: bool,
    token_socket_lost: bool,
    introspections: u64,
    introspection_failures: u64,
    rejections: u64,
    hold_offs: Vec<HoldOffObject<'a>>,
    login_budgets: Vec<BudgetObject<'a>>,
    outages: Vec<OutageObject<'a>>,
}

#[derive(Serialize)]
struct HoldOffObject<'a> {
    account: &'a str,
    until: i64,
    reason: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct BudgetObject<'a> {
    login_url: &'a str,
    username: &'a str,
    left: u32,
    next_at: Option<i64>,
}

#[derive(Serialize)]
struct OutageObject<'a> {
    login_url: &'a str,
    until: i64,
}

impl<'a> From<&'a GetStatusResponse> for StatusObject<'a> {
    fn from(status: &'a GetStatusResponse) -> Self {
        Self {
            version: &status.version,
            protocol_version: status.protocol_version,
            pid: status.pid,
            socket: &status.socket,
            locked: status.locked,
            memory_protection: memory_protection(status.memory_protection()),
            dumpable: status.dumpable,
            core_limit: status.core_limit,
            swap: status.swap,
            account_count: status.account_count,
            clock_skew_seconds: status.clock_skew_seconds,
            started_at: status.started_at,
            token_requests: status.token_requests,
            cache_hits: status.cache_hits,
            exchanges: status.exchanges,
            exchange_failures: status.exchange_failures,
            connections: status.connections,
            connections_refused: status.connections_refused,
            settings_file: status.settings_file.as_deref(),
            token_socket: status.token_socket.as_deref(),
            token_connections: status.token_connections,
            denials: status.denials,
            audit_log: status.audit_log.as_deref(),
            audit_records: status.audit_records,
            audit_failures: status.audit_failures,
            socket_activated: status.socket_activated,
            socket_lost: status.socket_lost,
            token_socket_lost: status.token_socket_lost,
            introspections: status.introspections,
            introspection_failures: status.introspection_failures,
            rejections: status.rejections,
            hold_offs: status.hold_offs.iter().map(HoldOffObject::from).collect(),
            login_budgets: status.login_budgets.iter().map(BudgetObject::from).collect(),
            outages: status.outages.iter().map(OutageObject::from).collect(),
        }
    }
}

impl<'a> From<&'a HoldOff> for HoldOffObject<'a> {
    fn from(hold_off: &'a HoldOff) -> Self {
        Self {
            account: &hold_off.account,
            until: hold_off.until,
            reason: &hold_off.reason,
            message: &hold_off.message,
        }
    }
}

impl<'a> From<&'a LoginBudget> for BudgetObject<'a> {
    fn from(budget: &'a LoginBudget) -> Self {
        Self {
            login_url: &budget.login_url,
            username: &budget.username,
            left: budget.left,
            next_at: budget.next_at,
        }
    }
}

impl<'a> From<&'a Outage> for OutageObject<'a> {
    fn from(outage: &'a Outage) -> Self {
        Self {
            login_url: &outage.login_url,
            until: outage.until,
        }
    }
}

/// What `sfkey whoami --json` prints.
#[derive(Serialize)]
pub(super) struct OwnerObject<'a> {
    account: &'a str,
    user_id: &'a str,
    org_id: &'a str,
    username: &'a str,
    name: Option<&'a str>,
    email: Option<&'a str>,
    instance_url: &'a str,
}

impl<'a> From<&'a WhoAmIResponse> for OwnerObject<'a> {
    fn from(owner: &'a WhoAmIResponse) -> Self {
        Self {
            account: &owner.account,
            user_id: &owner.user_id,
            org_id: &owner.org_id,
            username: &owner.username,
            name: owner.name.as_deref(),
            email: owner.email.as_deref(),
            instance_url: &owner.instance_url,
        }
    }
}

/// What `sfkey panic --json` prints.
#[derive(Serialize)]
pub(super) struct PanicObject<'a> {
    wiped: bool,
    revocations: Vec<RevocationObject<'a>>,
}

#[derive(Serialize)]
struct RevocationObject<'a> {
    account: &'a str,
    revoked: bool,
    detail: Option<&'a str>,
}

impl<'a> From<&'a [Revocation]> for PanicObject<'a> {
    fn from(revocations: &'a [Revocation]) -> Self {
        let object = |revocation: &'a Revocation| RevocationObject {
            account: &revocation.account,
            revoked: revocation.revoked,
            detail: Some(revocation.detail.as_str()).filter(|detail| !detail.is_empty()),
        };
        Self {
            wiped: true,
            revocations: revocations.iter().map(object).collect(),
        }
    }
}

const fn expiry_source(source: ExpirySource) -> Option<&'static str> {
    match source {
        ExpirySource::Unspecified => None,
        ExpirySource::Jwt => Some("jwt"),
        ExpirySource::ExpiresIn => Some("expires_in"),
        ExpirySource::Introspection => Some("introspection"),
        ExpirySource::SessionTimeout => Some("session_timeout"),
        ExpirySource::Assumed => Some("assumed"),
    }
}

const fn token_state(state: State) -> Option<&'static str> {
    match state {
        State::Unspecified => None,
        State::None => Some("none"),
        State::Live => Some("live"),
        State::Expired => Some("expired"),
        State::Failing => Some("failing"),
    }
}

pub(super) const fn memory_protection(level: MemoryProtection) -> Option<&'static str> {
    match level {
        MemoryProtection::Unspecified => None,
        MemoryProtection::MemfdSecret => Some("memfd_secret"),
        MemoryProtection::Mlock => Some("mlock"),
        MemoryProtection::None => Some("none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(object: &impl Serialize) -> String {
        serde_json::to_string(object).expect("serialized")
    }

    #[test]
    fn a_token_has_every_key_and_null_for_what_is_not_known() {
        let mut token = Token::default();
        token.account = "prod".to_owned();
        token.access_token = "00D!x".to_owned();
        token.token_type = "Bearer".to_owned();
        token.instance_url = "https://i".to_owned();
        token.expires_at = 1_800_000_000;
        token.issued_at = 1_799_999_000;
        token.username = "u@x".to_owned();
        assert_eq!(
            render(&TokenObject::from(&token)),
            concat!(
                r#"{"account":"prod","access_token":"00D!x","token_type":"Bearer","instance_url":"https://i","#,
                r#""expires_at":1800000000,"expiry_source":null,"issued_at":1799999000,"scope":null,"id":null,"#,
                r#""org_id":null,"user_id":null,"username":"u@x","warnings":[]}"#
            )
        );
        token.set_expiry_source(ExpirySource::ExpiresIn);
        token.scope = Some("api web".to_owned());
        token.warnings = vec!["STALE".to_owned()];
        let text = render(&TokenObject::from(&token));
        for part in [
            r#""expiry_source":"expires_in""#,
            r#""scope":"api web""#,
            r#""warnings":["STALE"]"#,
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_account_has_every_key_and_null_for_what_is_not_known() {
        let account = Account {
            account: "a".to_owned(),
            ..Account::default()
        };
        assert_eq!(
            render(&AccountsObject::from(&[account][..])),
            concat!(
                r#"{"accounts":[{"account":"a","default":false,"username":"","login_url":"","audience":"","#,
                r#""consumer_key":"","key_fingerprint":"","lifetime_ends_at":null,"idle_ends_at":null,"#,
                r#""token":{"state":null,"expires_at":null,"expiry_source":null},"last_error":null}]}"#
            )
        );
    }

    #[test]
    fn the_status_has_every_key_and_names_the_memory_protection() {
        let mut status = GetStatusResponse::default();
        status.set_memory_protection(MemoryProtection::MemfdSecret);
        assert_eq!(
            render(&StatusObject::from(&status)),
            concat!(
                r#"{"version":"","protocol_version":0,"pid":0,"socket":"","locked":false,"#,
                r#""memory_protection":"memfd_secret","dumpable":false,"core_limit":0,"swap":false,"#,
                r#""account_count":0,"clock_skew_seconds":null,"started_at":0,"token_requests":0,"#,
                r#""cache_hits":0,"exchanges":0,"exchange_failures":0,"connections":0,"connections_refused":0,"#,
                r#""settings_file":null,"token_socket":null,"token_connections":0,"denials":0,"#,
                r#""audit_log":null,"audit_records":0,"audit_failures":0,"#,
                r#""socket_activated":false,"socket_lost":false,"token_socket_lost":false,"#,
                r#""introspections":0,"introspection_failures":0,"rejections":0,"hold_offs":[],"login_budgets":[],"outages":[]}"#
            )
        );
    }

    #[test]
    fn an_owner_and_a_panic_have_every_key_and_null_for_what_is_not_known() {
        let owner = WhoAmIResponse {
            account: "a".to_owned(),
            ..WhoAmIResponse::default()
        };
        assert_eq!(
            render(&OwnerObject::from(&owner)),
            concat!(
                r#"{"account":"a","user_id":"","org_id":"","username":"","name":null,"email":null,"#,
                r#""instance_url":""}"#
            )
        );
        let revocation = Revocation {
            account: "a".to_owned(),
            revoked: true,
            detail: String::new(),
        };
        assert_eq!(
            render(&PanicObject::from(&[revocation][..])),
            r#"{"wiped":true,"revocations":[{"account":"a","revoked":true,"detail":null}]}"#
        );
    }

    #[test]
    fn every_name_of_the_contract_is_used() {
        use {ExpirySource as E, MemoryProtection as M, State as S};
        let sources = [
            E::Jwt,
            E::ExpiresIn,
            E::Introspection,
            E::SessionTimeout,
            E::Assumed,
        ];
        let names = ["jwt", "expires_in", "introspection", "session_timeout", "assumed"];
        assert_eq!(sources.map(expiry_source), names.map(Some));
        let states = [S::None, S::Live, S::Expired, S::Failing].map(token_state);
        assert_eq!(states, ["none", "live", "expired", "failing"].map(Some));
        let levels = [M::MemfdSecret, M::Mlock, M::None].map(memory_protection);
        assert_eq!(levels, ["memfd_secret", "mlock", "none"].map(Some));
    }
}
