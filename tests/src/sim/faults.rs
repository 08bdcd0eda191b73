//! Faults: what goes wrong between a client and Salesforce, on demand.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// One way in which an answer goes wrong. In TOML and JSON: `{ kind = "slow-body", chunk = 1 }`.
///
/// [`Fault::TruncatedJson`], [`Fault::WrongContentType`], [`Fault::SlowBody`], [`Fault::CutBody`],
/// [`Fault::HugeHeaders`] and [`Fault::Stall`] spoil the genuine answer of a request that is otherwise processed;
/// the others replace it, and the request has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// 503 with the HTML page "We are down for maintenance".
    Maintenance,
    /// 502 with a proxy's HTML page.
    BadGateway,
    /// 200 without a body.
    EmptyBody,
    /// The genuine status with only the first half of the genuine JSON.
    TruncatedJson,
    /// The genuine answer, called `text/plain`.
    WrongContentType,
    /// 200 with an HTML page, as a captive portal gives it.
    HtmlOk,
    /// The genuine answer, dripping.
    SlowBody {
        /// Bytes in each drop.
        #[serde(default = "one")]
        chunk: usize,
        /// Milliseconds between drops.
        #[serde(default = "one_second")]
        interval_ms: u64,
    },
    /// The genuine headers and half of the body, then the connection is closed.
    CutBody,
    /// No answer until [`super::Simulator::release_stalled`]; then the genuine one.
    Stall,
    /// The connection is reset (TCP RST) instead of an answer.
    Reset,
    /// A redirect.
    Redirect {
        /// Where to.
        location: String,
        /// 301, 302, 303, 307 or 308.
        #[serde(default = "temporary_redirect")]
        status: u16,
    },
    /// 200 and a JSON body that does not end before so many bytes.
    HugeBody {
        /// Length of the body.
        #[serde(default = "sixteen_megabytes")]
        bytes: usize,
    },
    /// The genuine answer with a header this long.
    HugeHeaders {
        /// Length of the header's value.
        #[serde(default = "half_a_megabyte")]
        bytes: usize,
    },
    /// A refusal of the token endpoint, whatever was asked.
    Refuse {
        /// Which.
        refusal: Refusal,
    },
    /// This answer and no other. In `body` and in header values, `{assertion}` stands for the assertion that was
    /// sent and `{body}` for the whole body of the request.
    Canned {
        /// The HTTP status.
        status: u16,
        /// The headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(default)]
        body: String,
    },
}

fn one() -> usize {
    1
}

fn one_second() -> u64 {
    1000
}

fn temporary_redirect() -> u16 {
    302
}

fn sixteen_megabytes() -> usize {
    16 << 20
}

fn half_a_megabyte() -> usize {
    512 << 10
}

/// A fault, and which requests meet it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultRule {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// For requests whose path contains this; by default the token endpoint's.
    pub path: String,
    /// For requests to this host only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// For how many requests; absent means until the faults are cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// Derived code would let an unknown member pass beside a fault that has none of its own, and a misspelt `times`
/// would make a fault that lasts for ever.
impl<'de> Deserialize<'de> for FaultRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Meets {
            #[serde(default = "token_path")]
            path: String,
            host: Option<String>,
            times: Option<u32>,
        }
        let members = Map::deserialize(deserializer)?;
        let meets: Meets =
            serde_json::from_value(Value::Object(members.clone())).map_err(D::Error::custom)?;
        let own = members
            .into_iter()
            .filter(|(name, _)| !["path", "host", "times"].contains(&name.as_str()));
        let own: Map<String, Value> = own.collect();
        let fault: Fault = serde_json::from_value(Value::Object(own.clone())).map_err(D::Error::custom)?;
        let known = serde_json::to_value(&fault).map_err(D::Error::custom)?;
        match own.keys().find(|name| known.get(name.as_str()).is_none()) {
            Some(name) => Err(D::Error::custom(format!("unknown member `{name}` of this fault"))),
            None => Ok(Self {
                fault,
                path: meets.path,
                host: meets.host,
                times: meets.times,
            }),
        }
    }
}

fn token_path() -> String {
    "/services/oauth2/token".to_owned()
}

impl FaultRule {
    /// `fault` for every token request from now on.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            path: token_path(),
            host: None,
            times: None,
        }
    }

    /// `fault` for the next `times` token requests.
    #[must_use]
    pub fn next(times: u32, fault: Fault) -> Self {
        Self {
            times: Some(times),
            ..Self::always(fault)
        }
    }

    /// The same for requests whose path contains `path`.
    #[must_use]
    pub fn on_path(self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// The same for requests to `host` only.
    #[must_use]
    pub fn on_host(self, host: impl Into<String>) -> Self {
        Self {
            host: Some(host.into()),
            ..self
        }
    }

    fn meets(&self, host: &str, path: &str) -> bool {
        path.contains(&self.path) && self.host.as_deref().is_none_or(|wanted| wanted == host)
    }
}

/// The fault that a request to `path` on `host` meets: the first rule that fits, one use of which is spent.
pub(super) fn take(rules: &mut Vec<FaultRule>, host: &str, path: &str) -> Option<Fault> {
    let position = rules
        .iter()
        .position(|rule| rule.meets(host, path) && rule.times != Some(0))?;
    let rule = &mut rules[position];
    let fault = rule.fault.clone();
    rule.times = rule.times.map(|times| times - 1);
    rules.retain(|rule| rule.times != Some(0));
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultRule, take};

    #[test]
    fn a_rule_is_spent_after_its_times_and_lets_the_next_one_through() {
        let mut rules = vec![
            FaultRule::next(2, Fault::Reset),
            FaultRule::always(Fault::EmptyBody).on_path("/limits"),
        ];
        let path = "/services/oauth2/token";
        assert_eq!(take(&mut rules, "h", path), Some(Fault::Reset));
        assert_eq!(
            take(&mut rules, "h", "/services/data/v1.0/limits"),
            Some(Fault::EmptyBody)
        );
        assert_eq!(take(&mut rules, "h", path), Some(Fault::Reset));
        assert_eq!(take(&mut rules, "h", path), None);
        assert_eq!(
            take(&mut rules, "h", "/services/data/v1.0/limits"),
            Some(Fault::EmptyBody)
        );
    }

    #[test]
    fn a_misspelt_member_is_an_error_and_not_a_fault_that_lasts_for_ever() {
        for text in [
            "kind = 'maintenance'\ntmes = 1",
            "kind = 'slow-body'\ntmes = 1",
            "kind = 'no-such-thing'",
        ] {
            assert!(toml::from_str::<FaultRule>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_reads_from_toml_with_its_defaults() {
        let rule: FaultRule = toml::from_str("kind = 'slow-body'\ntimes = 1").expect("a rule");
        assert_eq!(
            rule,
            FaultRule::next(
                1,
                Fault::SlowBody {
                    chunk: 1,
                    interval_ms: 1000
                }
            )
        );
    }
}
