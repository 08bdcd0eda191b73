//! The REST API, identity and what is said of bad tokens.

use sfkey_tests::sim::RestMode;

use crate::bench::{Answered, Bench};

#[tokio::test]
async fn documented_the_list_of_versions_needs_no_token() {
    let bench = Bench::new();
    let response = bench
        .client
        .get(format!("{}/services/data/", bench.sim.url()))
        .send()
        .await;
    let answer = Answered::of(response.expect("an answer")).await;
    assert_eq!(answer.status, 200);
    let last = answer
        .json()
        .as_array()
        .and_then(|list| list.last().cloned())
        .expect("versions");
    assert_eq!(last["url"], "/services/data/v66.0");
}

#[tokio::test]
async fn documented_everything_below_a_version_needs_one() {
    let bench = Bench::new();
    for path in ["", "/limits", "/query?q=SELECT+Id+FROM+Account", "/sobjects"] {
        let url = format!("{}/services/data/v60.0{path}", bench.sim.url());
        let status = bench
            .client
            .get(&url)
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16();
        assert_eq!(status, 401, "{path}");
        let token = bench.token().await;
        assert_eq!(
            bench
                .get(&format!("/services/data/v60.0{path}"), &token)
                .await
                .status,
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn documented_a_query_answers_records_with_their_attributes() {
    let bench = Bench::new();
    let token = bench.token().await;
    let path = "/services/data/v60.0/query?q=SELECT+Id,Name+FROM+Account+LIMIT+1";
    let body = bench.get(path, &token).await.json();
    assert_eq!(body["totalSize"], 1);
    assert_eq!(body["done"], true);
    assert_eq!(body["records"][0]["Name"], "Acme");
    assert_eq!(body["records"][0]["attributes"]["type"], "Account");
}

#[tokio::test]
async fn documented_a_query_of_organization_tells_a_sandbox() {
    let bench = Bench::new();
    let token = bench.token().await;
    let path = "/services/data/v60.0/query?q=SELECT+IsSandbox,OrganizationType,TrialExpirationDate+FROM+Organization";
    assert_eq!(
        bench.get(path, &token).await.json()["records"][0]["IsSandbox"],
        false
    );
    bench.sim.with_org("main", |org| org.sandbox = true);
    assert_eq!(
        bench.get(path, &token).await.json()["records"][0]["IsSandbox"],
        true
    );
}

#[tokio::test]
async fn documented_the_errors_of_a_query_are_a_list_with_their_codes() {
    let bench = Bench::new();
    let token = bench.token().await;
    let answer = bench
        .get("/services/data/v60.0/query?q=SELECT+Id+FROM+Nothing", &token)
        .await;
    assert_eq!(
        (answer.status, answer.json()[0]["errorCode"].as_str()),
        (400, Some("INVALID_TYPE"))
    );
}

#[tokio::test]
async fn documented_refusals_of_a_good_token_have_their_codes_and_texts() {
    let bench = Bench::new();
    let token = bench.token().await;
    for (mode, status, code, text) in [
        (
            RestMode::SessionInvalid,
            401,
            "INVALID_SESSION_ID",
            "Session expired or invalid",
        ),
        (
            RestMode::NotValidForRest,
            401,
            "INVALID_SESSION_ID",
            "This session is not valid for use with the REST API",
        ),
        (
            RestMode::NotAttachedToAgent,
            401,
            "INVALID_SESSION_ID",
            "Connected app is not attached to Agent",
        ),
        (
            RestMode::RequestLimitExceeded,
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "TotalRequests Limit exceeded.",
        ),
    ] {
        bench.sim.knobs(|knobs| knobs.rest = mode);
        let answer = bench.get("/services/data/v60.0/limits", &token).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()[0]["errorCode"], code);
        assert_eq!(answer.json()[0]["message"], text);
    }
}

#[tokio::test]
async fn documented_userinfo_tells_who_a_token_belongs_to() {
    let bench = Bench::new();
    let token = bench.token().await;
    let body = bench.get("/services/oauth2/userinfo", &token).await.json();
    assert_eq!(body["preferred_username"], bench.sim.user(0).username);
    assert_eq!(body["organization_id"], bench.sim.org(0).id);
    assert_eq!(body["user_id"], bench.sim.user(0).id);
}

#[tokio::test]
async fn documented_userinfo_answers_a_bad_token_403_in_plain_text() {
    let bench = Bench::new();
    let answer = bench.get("/services/oauth2/userinfo", "bad").await;
    assert_eq!((answer.status, answer.text.as_str()), (403, "Bad_OAuth_Token"));
}

#[tokio::test]
async fn documented_the_identity_url_of_a_grant_answers_its_token() {
    let bench = Bench::new();
    let grant = bench.ask().await;
    let path = grant.member("id").replace(&bench.sim.url(), "");
    let answer = bench.get(&path, &grant.member("access_token")).await;
    assert_eq!(answer.member("username"), bench.sim.user(0).username);
    assert_eq!(answer.member("id"), grant.member("id"));
    assert_eq!(bench.get(&path, "bad").await.status, 403);
}

#[tokio::test]
async fn documented_the_username_can_be_read_from_the_user_record() {
    let bench = Bench::new();
    let token = bench.token().await;
    let path = format!("/services/data/v60.0/sobjects/User/{}", bench.sim.user(0).id);
    assert_eq!(
        bench.get(&path, &token).await.member("Username"),
        bench.sim.user(0).username
    );
    assert_eq!(
        bench
            .get("/services/data/v60.0/sobjects/User/005none", &token)
            .await
            .status,
        404
    );
}
