//! What the tests share: a simulator with one app and one user, and a client that knows how to ask it.

use std::sync::OnceLock;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sfkey_tests::sim::{AppKey, Config, Simulator, sign_assertion};

/// The grant type of the flow.
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// One key pair for all tests of the process, for it takes a moment to make.
pub(crate) fn key() -> &'static AppKey {
    static KEY: OnceLock<AppKey> = OnceLock::new();
    KEY.get_or_init(AppKey::generate)
}

/// Another one, which no app has.
pub(crate) fn other_key() -> &'static AppKey {
    static KEY: OnceLock<AppKey> = OnceLock::new();
    KEY.get_or_init(AppKey::generate)
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a body"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub(crate) fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Status, `error` and `error_description`.
    pub(crate) fn refusal(&self) -> (u16, String, String) {
        (
            self.status,
            self.member("error"),
            self.member("error_description"),
        )
    }
}

/// A simulator and a client that trusts it.
pub(crate) struct Bench {
    pub(crate) sim: Simulator,
    pub(crate) client: reqwest::Client,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Config::with_key(key()))
    }

    pub(crate) fn with(config: Config) -> Self {
        let sim = Simulator::start_blocking(config).expect("the simulator starts");
        let client = client(&sim).build().expect("the client is valid");
        Self { sim, client }
    }

    /// Good claims for `aud`.
    pub(crate) fn claims(&self, aud: &str) -> Value {
        json!({
            "iss": self.sim.app(0).consumer_key,
            "sub": self.sim.user(0).username,
            "aud": aud,
            "exp": self.sim.now() + 180,
        })
    }

    /// Good claims with some of them changed; null takes one out.
    pub(crate) fn claims_but(&self, changes: &Value) -> Value {
        let mut claims = self.claims(&self.sim.url());
        let members = claims.as_object_mut().expect("claims are an object");
        for (name, value) in changes.as_object().expect("changes are an object") {
            members.insert(name.clone(), value.clone());
            if value.is_null() {
                members.remove(name);
            }
        }
        claims
    }

    pub(crate) fn assertion(&self, claims: &Value) -> String {
        sign_assertion(key(), &json!({ "alg": "RS256", "typ": "JWT" }), claims)
    }

    /// Posts a form to the token endpoint below `base`.
    pub(crate) async fn post(&self, base: &str, form: &[(&str, &str)]) -> Answered {
        let url = format!("{base}/services/oauth2/token");
        let response = self.client.post(url).form(form).send().await.expect("an answer");
        Answered::of(response).await
    }

    /// Asks `base` for a token with these claims.
    pub(crate) async fn ask_at(&self, base: &str, claims: &Value) -> Answered {
        let assertion = self.assertion(claims);
        self.post(base, &[("grant_type", GRANT_TYPE), ("assertion", &assertion)])
            .await
    }

    /// Asks My Domain for a token with good claims but for these changes.
    pub(crate) async fn ask_but(&self, changes: &Value) -> Answered {
        self.ask_at(&self.sim.url(), &self.claims_but(changes)).await
    }

    /// Asks My Domain for a token as one should.
    pub(crate) async fn ask(&self) -> Answered {
        self.ask_but(&json!({})).await
    }

    /// A token.
    pub(crate) async fn token(&self) -> String {
        let answer = self.ask().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.member("access_token")
    }

    /// A GET of `path` with `token`.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answered {
        let url = format!("{}{path}", self.sim.url());
        let response = self
            .client
            .get(url)
            .bearer_auth(token)
            .send()
            .await
            .expect("an answer");
        Answered::of(response).await
    }

    /// The status of a REST call with `token`.
    pub(crate) async fn limits(&self, token: &str) -> u16 {
        self.get("/services/data/v60.0/limits", token).await.status
    }

    /// Asks the introspection endpoint about `token` as the first app.
    pub(crate) async fn introspect(&self, token: &str) -> Answered {
        let app = self.sim.app(0);
        let url = format!("{}/services/oauth2/introspect", self.sim.url());
        let request = self
            .client
            .post(url)
            .basic_auth(app.consumer_key, Some(app.consumer_secret.expose()));
        let form = [("token", token), ("token_type_hint", "access_token")];
        Answered::of(request.form(&form).send().await.expect("an answer")).await
    }
}

/// A client that trusts the simulator, follows no redirect, and finds every name on this machine.
pub(crate) fn client(sim: &Simulator) -> reqwest::ClientBuilder {
    let ca = reqwest::Certificate::from_pem(sim.ca_pem().as_bytes()).expect("a certificate");
    let here = |host| (host, std::net::SocketAddr::from(([127, 0, 0, 1], sim.port())));
    let names = [
        "login.salesforce.com",
        "test.salesforce.com",
        "acme.my.salesforce.com",
        "nowhere.example",
    ];
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only([ca]);
    names
        .map(here)
        .into_iter()
        .fold(builder, |builder, (host, address)| builder.resolve(host, address))
}
