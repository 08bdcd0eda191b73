//! From what Salesforce answered to what can be mended here.

use super::answers::Field;
use crate::exit::Failure;

/// What most probably is to be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// One answer is wrong.
    Change(Field),
    /// Something is to be done in Salesforce, unless this answer is wrong.
    InSalesforce(&'static str, Field),
    /// Nothing is known to be wrong: another try may do.
    TryAgain,
}

/// One row: `error`, what the description contains, the remedy, and whether an app that is minutes old
/// answers so too.
type Row = (&'static str, &'static str, Remedy, bool);

const APPROVAL: &str = "\
Salesforce does not let this user in. It answers so when
  - the username is not one of this org (look at it again: it need not be an e-mail address that exists),
  - the app's policy is not \"Admin approved users are pre-authorized\",
  - the user has none of the app's permission sets or profiles,
  - the app is younger than ten minutes.";

const ASSIGN: &str = "\
The app's policy is right, and this user has none of its permission sets or profiles.
In Setup: Users > the user > Permission Set Assignments > Edit Assignments.";

const SCOPE: &str = "\
The app lacks the scope \"Perform requests at any time (refresh_token, offline_access)\". Salesforce wants it, \
although this flow never gets a refresh token.
In Setup: External Client App Manager > the app > Settings > OAuth Settings > Edit > add the scope > Save.";

const CERTIFICATE: &str = "\
The app has another certificate than the one of this key, or a deploy has cleared it.
In Setup: External Client App Manager > the app > Settings > OAuth Settings > Flow Enablement > \
Enable JWT Bearer Flow > upload the certificate again > Save.";

const FLOW: &str = "\
In Setup: External Client App Manager > the app > Settings > OAuth Settings > Flow Enablement > \
Enable JWT Bearer Flow > upload the certificate > Save.";

const TABLE: &[Row] = &[
    (
        "invalid_grant",
        "hasn't approved",
        Remedy::InSalesforce(APPROVAL, Field::Username),
        true,
    ),
    (
        "invalid_app_access",
        "",
        Remedy::InSalesforce(ASSIGN, Field::Username),
        false,
    ),
    (
        "invalid_request",
        "refresh_token scope",
        Remedy::InSalesforce(SCOPE, Field::ConsumerKey),
        false,
    ),
    (
        "invalid_grant",
        "invalid assertion",
        Remedy::InSalesforce(CERTIFICATE, Field::Key),
        false,
    ),
    (
        "invalid_client",
        "",
        Remedy::InSalesforce(CERTIFICATE, Field::Key),
        false,
    ),
    (
        "invalid_grant",
        "audience",
        Remedy::Change(Field::Audience),
        false,
    ),
    ("invalid_client_id", "", Remedy::Change(Field::ConsumerKey), true),
    ("app_not_found", "", Remedy::Change(Field::LoginUrl), true),
    (
        "unsupported_grant_type",
        "",
        Remedy::InSalesforce(FLOW, Field::ConsumerKey),
        false,
    ),
    (
        "invalid_grant",
        "authentication failure",
        Remedy::Change(Field::Username),
        false,
    ),
    (
        "invalid_grant",
        "inactive user",
        Remedy::Change(Field::Username),
        false,
    ),
];

/// What a refusal calls for, and whether waiting may cure it.
pub(super) fn remedy(failure: &Failure) -> (Remedy, bool) {
    let Some((error, description)) = failure.salesforce_error() else {
        return (Remedy::TryAgain, false);
    };
    let description = description.to_lowercase();
    TABLE
        .iter()
        .find(|(row, contains, ..)| row.eq_ignore_ascii_case(error) && description.contains(contains))
        .map_or((Remedy::TryAgain, false), |(.., remedy, may_be_young)| {
            (*remedy, *may_be_young)
        })
}

#[cfg(test)]
mod tests {
    use sfkey::proto::{Reason, Refusal, SalesforceAnswer};

    use super::*;

    fn remedy_of(error: &str, description: &str) -> (Remedy, bool) {
        let refusal = Refusal::new(Reason::SalesforceRefused, "", "").with_answer(SalesforceAnswer {
            error: error.to_owned(),
            error_description: description.to_owned(),
            http_status: 400,
        });
        remedy(&Failure::from(refusal))
    }

    #[test]
    fn every_frequent_mistake_leads_to_what_mends_it() {
        for (error, description, remedy, may_be_young) in [
            (
                "invalid_grant",
                "audience is invalid",
                Remedy::Change(Field::Audience),
                false,
            ),
            (
                "invalid_grant",
                "Audience validation failed",
                Remedy::Change(Field::Audience),
                false,
            ),
            (
                "invalid_client_id",
                "client identifier invalid",
                Remedy::Change(Field::ConsumerKey),
                true,
            ),
            (
                "app_not_found",
                "External client app is not installed in this org",
                Remedy::Change(Field::LoginUrl),
                true,
            ),
            (
                "invalid_grant",
                "user hasn't approved this consumer",
                Remedy::InSalesforce(APPROVAL, Field::Username),
                true,
            ),
            (
                "invalid_grant",
                "invalid assertion",
                Remedy::InSalesforce(CERTIFICATE, Field::Key),
                false,
            ),
            (
                "invalid_request",
                "refresh_token scope is required and …",
                Remedy::InSalesforce(SCOPE, Field::ConsumerKey),
                false,
            ),
            ("invalid_grant", "something new", Remedy::TryAgain, false),
        ] {
            assert_eq!(
                remedy_of(error, description),
                (remedy, may_be_young),
                "{description}"
            );
        }
    }
}
