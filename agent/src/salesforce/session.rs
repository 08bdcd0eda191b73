//! What the answers about a session are worth: introspection, revocation, userinfo, and the API itself.

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use super::{
    ExchangeError, Introspection, UserInfo,
    answer::{malformed, other_error},
    grant::is_line,
};

/// Longest id, username, name or address taken, in bytes.
const MAX_TEXT_BYTES: usize = 512;

#[derive(Deserialize)]
struct IntrospectionAnswer {
    active: bool,
    #[serde(default, deserialize_with = "lenient_seconds")]
    iat: Option<i64>,
    #[serde(default, deserialize_with = "lenient_seconds")]
    exp: Option<i64>,
}

#[derive(Deserialize)]
struct UserInfoAnswer {
    user_id: String,
    organization_id: String,
    preferred_username: String,
    name: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
struct VersionAnswer {
    version: String,
}

/// The URL of a service below an instance URL that a grant brought.
pub(super) fn url(instance_url: &str, path: &str) -> Option<Url> {
    let mut url = Url::parse(instance_url).ok()?;
    let path = format!("{}/{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Some(url)
}

/// RFC 7662, section 2.2. No `secrets` are repeated by what an error says.
///
/// # Errors
/// When the answer is a refusal, a failure of the host, or no introspection.
pub fn introspection(
    status: StatusCode,
    body: &[u8],
    secrets: &[&str],
) -> Result<Introspection, ExchangeError> {
    if !status.is_success() {
        return Err(other_error(status, body, secrets));
    }
    let told: IntrospectionAnswer =
        serde_json::from_slice(body).map_err(|_| malformed(status, "200 that is no introspection"))?;
    Ok(Introspection {
        active: told.active,
        issued_at: told.iat,
        expires_at: told.exp.filter(|_| told.active),
    })
}

/// RFC 7009, section 2.2: a token that is no longer known needs no revocation, and Salesforce says so with an
/// error instead of 200.
///
/// # Errors
/// When the answer is another refusal or a failure of the host.
pub fn revocation(status: StatusCode, body: &[u8], token: &str) -> Result<(), ExchangeError> {
    if status.is_success() {
        return Ok(());
    }
    match other_error(status, body, &[token]) {
        ExchangeError::Refused(answer) if answer.error.eq_ignore_ascii_case("invalid_token") => Ok(()),
        error => Err(error),
    }
}

/// Whose `token` it is (OpenID Connect Core, section 5.3.2), every text one line that a terminal can bear.
///
/// # Errors
/// When the answer is a refusal, a failure of the host, or says nothing of a user.
pub fn user_info(status: StatusCode, body: &[u8], token: &str) -> Result<UserInfo, ExchangeError> {
    if !status.is_success() {
        return Err(other_error(status, body, &[token]));
    }
    let told: UserInfoAnswer = serde_json::from_slice(body).map_err(|_| {
        malformed(
            status,
            "200 without user_id, organization_id and preferred_username",
        )
    })?;
    let (user_id, org_id, username) = (told.user_id, told.organization_id, told.preferred_username);
    if ![&user_id, &org_id, &username]
        .into_iter()
        .all(|text| is_line(text))
    {
        return Err(malformed(status, "200 with control characters in an id"));
    }
    // A person's name is any text; what could steer a terminal has no place in it.
    let text = |text: &String| text.len() <= MAX_TEXT_BYTES && super::raw::shown(text, &[]) == *text;
    Ok(UserInfo {
        user_id,
        org_id,
        username,
        name: told.name.filter(text),
        email: told.email.filter(text),
    })
}

/// The newest of the API versions of an instance, such as `64.0`.
///
/// # Errors
/// When the answer is a refusal, a failure of the host, or no list of versions.
pub fn newest_version(status: StatusCode, body: &[u8]) -> Result<String, ExchangeError> {
    if !status.is_success() {
        return Err(other_error(status, body, &[]));
    }
    let versions: Vec<VersionAnswer> =
        serde_json::from_slice(body).map_err(|_| malformed(status, "200 without a list of API versions"))?;
    let number = |version: &str| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u16>().ok()?, minor.parse::<u16>().ok()?))
    };
    let newest = versions.iter().filter_map(|entry| number(&entry.version)).max();
    newest
        .map(|(major, minor)| format!("{major}.{minor}"))
        .ok_or_else(|| malformed(status, "200 with an empty list of API versions"))
}

/// Whether the API takes the `token`.
///
/// # Errors
/// When the answer is a refusal or a failure of the host.
pub fn api(status: StatusCode, body: &[u8], token: &str) -> Result<(), ExchangeError> {
    if status.is_success() {
        Ok(())
    } else {
        Err(other_error(status, body, &[token]))
    }
}

/// Seconds as a number or as a string of digits; what is neither is left out.
fn lenient_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_i64().or_else(|| value.as_str()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: StatusCode = StatusCode::OK;

    #[test]
    fn introspection_tells_the_end_of_an_active_session_only() {
        let told = introspection(
            OK,
            br#"{"active":true,"exp":1800007200,"iat":"1800000000","sub":"x"}"#,
            &[],
        );
        let active = Introspection {
            active: true,
            issued_at: Some(1_800_000_000),
            expires_at: Some(1_800_007_200),
        };
        assert_eq!(told, Ok(active));
        let told = introspection(OK, br#"{"active":false,"exp":1800007200}"#, &[]).expect("an answer");
        assert_eq!((told.active, told.expires_at), (false, None));
        for odd in [&b"[]"[..], b"{}", b"", b"<html>", br#"{"active":"yes"}"#] {
            assert!(matches!(
                introspection(OK, odd, &[]),
                Err(ExchangeError::Malformed(_))
            ));
        }
    }

    #[test]
    fn a_wrong_consumer_secret_is_a_refusal_that_does_not_quote_it() {
        let body = br#"{"error":"invalid_client","error_description":"no: canary"}"#;
        let refused = introspection(StatusCode::UNAUTHORIZED, body, &["canary"]);
        let Err(ExchangeError::Refused(answer)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(
            (answer.error.as_str(), answer.error_description.as_str()),
            ("invalid_client", "no: [removed]")
        );
    }

    #[test]
    fn a_token_that_is_unknown_counts_as_revoked_and_an_outage_does_not() {
        assert_eq!(revocation(OK, b"", "00Dx!token"), Ok(()));
        let unknown = br#"{"error":"invalid_token","error_description":"invalid token"}"#;
        assert_eq!(revocation(StatusCode::BAD_REQUEST, unknown, "00Dx!token"), Ok(()));
        let unsupported = br#"{"error":"unsupported_token_type"}"#;
        assert!(matches!(
            revocation(StatusCode::BAD_REQUEST, unsupported, "00Dx!token"),
            Err(ExchangeError::Refused(_))
        ));
        assert!(matches!(
            revocation(StatusCode::BAD_GATEWAY, b"<html>", "00Dx!token"),
            Err(ExchangeError::Unavailable(_))
        ));
    }

    #[test]
    fn userinfo_is_taken_without_what_could_steer_a_terminal() {
        let body = "{\"user_id\":\"005\",\"organization_id\":\"00D\",\"preferred_username\":\"a@b\",\"name\":\"Zo\u{eb} \\u001b[31m\",\"email\":\"z@b\"}";
        let user = user_info(OK, body.as_bytes(), "00Dx!token").expect("a user");
        assert_eq!(
            (user.user_id.as_str(), user.name, user.email.as_deref()),
            ("005", None, Some("z@b"))
        );
        let refused = user_info(StatusCode::FORBIDDEN, b"Bad_OAuth_Token", "00Dx!token");
        let Err(ExchangeError::Refused(answer)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(
            (answer.error.as_str(), answer.http_status),
            ("Bad_OAuth_Token", 403)
        );
    }

    #[test]
    fn the_newest_version_is_the_largest_number_and_not_the_last_line() {
        let body = br#"[{"version":"64.0","url":"/x"},{"version":"9.0"},{"version":"../x"}]"#;
        assert_eq!(newest_version(OK, body), Ok("64.0".to_owned()));
        assert!(matches!(
            newest_version(OK, b"[]"),
            Err(ExchangeError::Malformed(_))
        ));
    }

    #[test]
    fn a_refusal_of_the_api_keeps_its_code_and_message() {
        let body = br#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#;
        let Err(ExchangeError::Refused(answer)) = api(StatusCode::UNAUTHORIZED, body, "00Dx!token") else {
            panic!()
        };
        assert_eq!(
            (answer.error.as_str(), answer.error_description.as_str()),
            ("INVALID_SESSION_ID", "Session expired or invalid")
        );
    }
}
