//! Orgs and their users.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ids::{long_id, random_id};

/// The state an org is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrgStatus {
    /// In use.
    #[default]
    Active,
    /// Locked: grants are refused with `inactive_org`.
    Locked,
    /// Suspended: as locked.
    Suspended,
    /// Closed: as locked.
    Closed,
    /// Its instance is in maintenance: every request is answered 503 with an HTML page.
    Maintenance,
}

/// An org of the simulated Salesforce.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Org {
    /// The name by which apps and users refer to it.
    pub name: String,
    /// Its id, of 15 or 18 characters.
    pub id: String,
    /// Host names that lead to it; the first is its My Domain, which `instance_url` names.
    pub hosts: Vec<String>,
    /// A sandbox is reached through the test hosts, other orgs through the login hosts.
    pub sandbox: bool,
    /// `OrganizationType` in queries.
    pub edition: String,
    /// The state it is in.
    pub status: OrgStatus,
    /// Paths of its Experience Cloud sites, e.g. `/customers`: each has a token endpoint of its own.
    pub sites: Vec<String>,
    /// Records to query, by object, e.g. `Account`. `User` and `Organization` come by themselves.
    pub records: BTreeMap<String, Vec<Map<String, Value>>>,
}

impl Default for Org {
    fn default() -> Self {
        let accounts = ["Acme", "Globex", "Initech"].map(|name| {
            let account = json!({ "Id": long_id(&random_id("001")), "Name": name });
            account.as_object().cloned().unwrap_or_default()
        });
        Self {
            name: "main".to_owned(),
            id: long_id(&random_id("00D")),
            hosts: vec!["localhost".to_owned(), "localhost.sfdcdev.test".to_owned()],
            sandbox: false,
            edition: "Developer Edition".to_owned(),
            status: OrgStatus::default(),
            sites: Vec::new(),
            records: BTreeMap::from([("Account".to_owned(), accounts.to_vec())]),
        }
    }
}

impl Org {
    /// Its My Domain host.
    pub(super) fn host(&self) -> &str {
        self.hosts.first().map_or("localhost", String::as_str)
    }

    /// Splits the path of an Experience Cloud site off `path`: (site or empty, rest).
    pub(super) fn split_site<'a>(&self, path: &'a str) -> (&'a str, &'a str) {
        let prefixed = |site: &str| path.strip_prefix(site).is_some_and(|rest| rest.starts_with('/'));
        let longest = self
            .sites
            .iter()
            .filter(|site| prefixed(site))
            .map(String::len)
            .max();
        path.split_at(longest.unwrap_or(0))
    }
}

/// A user of an org.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// `sub` of assertions: shaped like an e-mail address, unique among all orgs.
    pub username: String,
    /// The user's id, of 15 or 18 characters.
    pub id: String,
    /// Name of the user's org; absent means the first org.
    pub org: Option<String>,
    /// The name shown.
    pub name: String,
    /// The e-mail address, which need not be the username.
    pub email: String,
    /// Deactivated users are refused.
    pub active: bool,
    /// Frozen users are refused as well.
    pub frozen: bool,
    /// The profile.
    pub profile: String,
    /// Permission sets assigned.
    pub permission_sets: Vec<String>,
    /// "API Enabled"; without it a grant is an authentication failure.
    pub api_enabled: bool,
    /// Whether now is outside the profile's login hours.
    pub outside_login_hours: bool,
    /// Consumer keys of apps that the user has approved in a browser.
    pub approved_apps: Vec<String>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            username: "integration@acme.example".to_owned(),
            id: long_id(&random_id("005")),
            org: None,
            name: "Integration User".to_owned(),
            email: "integration@acme.example".to_owned(),
            active: true,
            frozen: false,
            profile: "System Administrator".to_owned(),
            permission_sets: Vec::new(),
            api_enabled: true,
            outside_login_hours: false,
            approved_apps: Vec::new(),
        }
    }
}
