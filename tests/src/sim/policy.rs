//! Whether the org lets this user have a token for this app: the checks after the assertion's own.

use std::net::IpAddr;

use super::app::{App, PermittedUsers};
use super::org::{Org, OrgStatus, User};
use super::refusal::Refusal;
use super::world::State;

/// A user who may have a token. Only [`approve`] makes one, and a grant requires it.
pub(super) struct Approved {
    pub(super) app: App,
    pub(super) org: Org,
    pub(super) user: User,
}

/// Checks user, policy, scope, address and rate in this order.
///
/// `orgs` are the indexes of the orgs in which the app was found.
pub(super) fn approve(
    state: &mut State,
    app: &App,
    orgs: &[usize],
    username: &str,
    caller: IpAddr,
    now: i64,
) -> Result<Approved, Refusal> {
    let (user, org) = known_user(state, orgs, username)?;
    if matches!(
        org.status,
        OrgStatus::Locked | OrgStatus::Suspended | OrgStatus::Closed
    ) {
        return Err(Refusal::OrgInactive);
    }
    if !user.active || user.frozen {
        return Err(Refusal::UserInactive);
    }
    permitted(app, &user)?;
    if !user.api_enabled {
        return Err(Refusal::AuthenticationFailure);
    }
    if !app.has_refresh_scope() {
        return Err(Refusal::RefreshScopeMissing);
    }
    if user.outside_login_hours || !app.ip_policy.admits(caller) {
        return Err(Refusal::IpRestricted);
    }
    within_rate(state, username, now)?;
    Ok(Approved {
        app: app.clone(),
        org,
        user,
    })
}

/// A user is known if it belongs to one of the orgs. An unknown one is answered as one who approved nothing.
fn known_user(state: &State, orgs: &[usize], username: &str) -> Result<(User, Org), Refusal> {
    let user = state
        .users
        .iter()
        .find(|user| user.username.eq_ignore_ascii_case(username));
    let user = user.ok_or(Refusal::UserNotApproved)?;
    let home = user.org.as_ref().map_or(Some(0), |name| {
        state.orgs.iter().position(|org| org.name == *name)
    });
    let home = home
        .filter(|index| orgs.contains(index))
        .ok_or(Refusal::UserNotApproved)?;
    Ok((user.clone(), state.orgs[home].clone()))
}

fn permitted(app: &App, user: &User) -> Result<(), Refusal> {
    if app.blocked {
        return Err(Refusal::AppBlocked);
    }
    match app.permitted_users {
        PermittedUsers::SelfAuthorize if !user.approved_apps.contains(&app.consumer_key) => {
            Err(Refusal::UserNotApproved)
        }
        PermittedUsers::AdminApproved
            if !app.profiles.contains(&user.profile)
                && !app
                    .permission_sets
                    .iter()
                    .any(|set| user.permission_sets.contains(set)) =>
        {
            Err(Refusal::NotAdminApproved)
        }
        PermittedUsers::SelfAuthorize | PermittedUsers::AdminApproved => Ok(()),
    }
}

/// Salesforce counts logins per user and hour.
fn within_rate(state: &mut State, username: &str, now: i64) -> Result<(), Refusal> {
    let limit = usize::try_from(state.knobs.logins_per_hour).unwrap_or(usize::MAX);
    let logins = state.logins.entry(username.to_lowercase()).or_default();
    logins.retain(|at| *at > now - 3600);
    if logins.len() >= limit {
        return Err(Refusal::LoginRateExceeded);
    }
    logins.push_back(now);
    Ok(())
}
