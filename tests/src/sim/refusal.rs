//! The refusals of the token endpoint: every pair of `error` and `error_description` it can answer.

use serde::{Deserialize, Serialize};

/// A reason to refuse a grant. In TOML and JSON the names are kebab-case, e.g. `user-not-approved`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The app is not pre-authorized, or the user is unknown on this host.
    UserNotApproved,
    /// The app is pre-authorized, but the user has none of its profiles or permission sets.
    NotAdminApproved,
    /// The app has neither the scope `refresh_token` nor `offline_access`.
    RefreshScopeMissing,
    /// The assertion is malformed, replayed, or its signature does not match the app's certificate.
    InvalidAssertion,
    /// The same mismatch on some orgs; on introspection, a wrong consumer secret.
    InvalidClientCredentials,
    /// `aud` is not accepted here.
    AudienceInvalid,
    /// The assertion's `exp` is past by more than the three minutes of leeway.
    AssertionExpired,
    /// The consumer key is unknown on this host.
    ConsumerKeyUnknown,
    /// An External Client App asked through a login host, or one lost in a sandbox refresh.
    AppNotInstalled,
    /// The user is deactivated or frozen.
    UserInactive,
    /// The org is locked, closed or suspended.
    OrgInactive,
    /// The app enforces IP ranges and the caller is outside them, or it is outside login hours.
    IpRestricted,
    /// The user lacks a permission such as "API Enabled".
    AuthenticationFailure,
    /// Another grant type, or the JWT Bearer flow is not enabled on the app.
    GrantTypeNotSupported,
    /// Over the limit of logins per user and hour.
    LoginRateExceeded,
    /// The app is blocked under "OAuth usage".
    AppBlocked,
    /// Transient.
    ServerError,
    /// Transient.
    UnknownError,
    /// A `scope` parameter was sent, which this flow does not take.
    ScopeNotSupported,
    /// Another parameter than the two of the flow, one of them twice, or parameters in the query string.
    UnexpectedParameter,
    /// The endpoint was asked with another method than POST.
    MustUsePost,
}

impl Refusal {
    /// All of them, for tests that go through the table.
    pub const ALL: [Self; 21] = [
        Self::UserNotApproved,
        Self::NotAdminApproved,
        Self::RefreshScopeMissing,
        Self::InvalidAssertion,
        Self::InvalidClientCredentials,
        Self::AudienceInvalid,
        Self::AssertionExpired,
        Self::ConsumerKeyUnknown,
        Self::AppNotInstalled,
        Self::UserInactive,
        Self::OrgInactive,
        Self::IpRestricted,
        Self::AuthenticationFailure,
        Self::GrantTypeNotSupported,
        Self::LoginRateExceeded,
        Self::AppBlocked,
        Self::ServerError,
        Self::UnknownError,
        Self::ScopeNotSupported,
        Self::UnexpectedParameter,
        Self::MustUsePost,
    ];

    /// The `error` member.
    #[must_use]
    pub fn error(self) -> &'static str {
        match self {
            Self::UserNotApproved
            | Self::InvalidAssertion
            | Self::AudienceInvalid
            | Self::AssertionExpired
            | Self::UserInactive
            | Self::IpRestricted
            | Self::AuthenticationFailure => "invalid_grant",
            Self::NotAdminApproved => "invalid_app_access",
            Self::RefreshScopeMissing
            | Self::ScopeNotSupported
            | Self::UnexpectedParameter
            | Self::MustUsePost => "invalid_request",
            Self::InvalidClientCredentials => "invalid_client",
            Self::ConsumerKeyUnknown => "invalid_client_id",
            Self::AppNotInstalled => "app_not_found",
            Self::OrgInactive => "inactive_org",
            Self::GrantTypeNotSupported => "unsupported_grant_type",
            Self::LoginRateExceeded => "rate_limit_exceeded",
            Self::AppBlocked => "OAUTH_APP_BLOCKED",
            Self::ServerError => "server_error",
            Self::UnknownError => "unknown_error",
        }
    }

    /// The `error_description` member; `alternate` picks the second wording seen in the wild, where there is one.
    #[must_use]
    pub fn description(self, alternate: bool) -> &'static str {
        match (self, alternate) {
            (Self::UserNotApproved, _) => "user hasn't approved this consumer",
            (Self::NotAdminApproved, _) => "user is not admin approved to access this app",
            (Self::RefreshScopeMissing, _) => {
                "refresh_token scope is required and the connected app should be installed and preauthorized"
            }
            (Self::InvalidAssertion, false) => "invalid assertion",
            (Self::InvalidAssertion, true) => "Invalid assertion",
            (Self::InvalidClientCredentials, false) => "invalid client credentials",
            (Self::InvalidClientCredentials, true) => "Invalid client credentials",
            (Self::AudienceInvalid, false) => "audience is invalid",
            (Self::AudienceInvalid, true) => "Audience validation failed",
            (Self::AssertionExpired, _) => "expired authorization code",
            (Self::ConsumerKeyUnknown, _) => "client identifier invalid",
            (Self::AppNotInstalled, _) => "External client app is not installed in this org",
            (Self::UserInactive, _) => "inactive user",
            (Self::OrgInactive, _) => "organization is locked, closed, or suspended",
            (Self::IpRestricted, false) => "ip restricted",
            (Self::IpRestricted, true) => "IP restricted or invalid login hours",
            (Self::AuthenticationFailure, _) => "authentication failure",
            (Self::GrantTypeNotSupported, _) => "grant type not supported",
            (Self::LoginRateExceeded, false) => "login rate exceeded",
            (Self::LoginRateExceeded, true) => "number of logins exceeded",
            (Self::AppBlocked, _) => "this app is blocked by admin",
            (Self::ServerError | Self::UnknownError, _) => "retry your request",
            (Self::ScopeNotSupported, _) => "scope parameter not supported",
            (Self::UnexpectedParameter, _) => "unexpected parameter",
            (Self::MustUsePost, _) => "must use HTTP POST",
        }
    }
}
