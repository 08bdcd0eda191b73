//! Tables and times for people.

use std::{fmt::Write, path::Path};

use jiff::{Timestamp, tz::TimeZone};
use sfkey::proto::v1::{
    Account, AddAccountResponse, ExpirySource, GetStatusResponse, WhoAmIResponse,
    add_account_response::Outcome, panic_response::Revocation, token_state::State,
};

use super::{
    json::memory_protection,
    style::Colour,
    table::{facts as facts_table, table},
};
use crate::{
    commands::audit::Record,
    config::{Setting, Source},
    exit::escape,
};

/// A clock that is off by more than this, in seconds, deserves a remark. Assertions live three minutes.
const NOTABLE_SKEW_SECONDS: u64 = 30;

/// The loaded accounts as a table, and below it the last error of each.
pub(super) fn accounts(accounts: &[Account], now: Timestamp, width: Option<usize>, colour: Colour) -> String {
    if accounts.is_empty() {
        return "No accounts are loaded. To load one: sfkey add NAME\n".to_owned();
    }
    let zone = TimeZone::system();
    let mut rows = vec![["ACCOUNT", "USERNAME", "LOGIN URL", "TOKEN", "UNLOADS"].map(str::to_owned)];
    for account in accounts {
        let mark = if account.is_default { " (default)" } else { "" };
        rows.push([
            format!("{}{mark}", escape(&account.account)),
            escape(&account.username),
            escape(&account.login_url),
            token_state(account, now, &zone),
            unloads(account, now, &zone),
        ]);
    }
    let mut text = table(&rows, width, colour);
    for account in accounts {
        if let Some(error) = &account.last_error {
            let _infallible = writeln!(
                text,
                "{}: last error: {}",
                escape(&account.account),
                escape(error)
            );
        }
    }
    text
}

/// What was recorded, the oldest first, one line a record.
pub(super) fn records(records: &[Record], now: Timestamp) -> String {
    if records.is_empty() {
        return "No records.\n".to_owned();
    }
    let zone = TimeZone::system();
    let rows: Vec<_> = records.iter().map(|record| row(record, now, &zone)).collect();
    facts_table(&rows)
}

fn row(record: &Record, now: Timestamp, zone: &TimeZone) -> [String; 7] {
    let text = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), escape);
    let pid = record.pid.map(|pid| format!(" ({pid})")).unwrap_or_default();
    let unit = record.unit.as_deref().map(|unit| format!(" in {}", escape(unit)));
    let caller = format!(
        "uid {} {}{pid}{}",
        record.uid,
        text(&record.exe),
        unit.unwrap_or_default()
    );
    let times = match record.count {
        1 => String::new(),
        count => format!("{count} times"),
    };
    let why = match (&record.reason, &record.fingerprint) {
        (None, fingerprint) => text(fingerprint),
        (reason, None) => text(reason),
        (reason, fingerprint) => format!("{} {}", text(reason), text(fingerprint)),
    };
    [
        moment(record.time, now, zone),
        escape(&record.decision),
        text(&record.account),
        text(&record.method),
        why,
        caller,
        times,
    ]
}

/// Settings, the restricted socket and the audit log, as far as there are any.
fn access(status: &GetStatusResponse) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(file) = &status.settings_file {
        facts.push(("settings", escape(file)));
        facts.push(("denied", format!("{} since start", status.denials)));
    }
    if let Some(socket) = &status.token_socket {
        let (path, open) = (escape(socket), status.token_connections);
        let lost = if status.token_socket_lost {
            ": REMOVED OR REPLACED, no new client reaches this agent there"
        } else {
            ""
        };
        facts.push(("restricted socket", format!("{path}, {open} connections{lost}")));
    }
    if let Some(log) = &status.audit_log {
        let (written, failed) = (status.audit_records, status.audit_failures);
        let failed = match failed {
            0 => String::new(),
            _ => format!(", {failed} COULD NOT BE WRITTEN"),
        };
        facts.push(("audit log", format!("{}, {written} records{failed}", escape(log))));
    }
    facts
}

/// The agent's status, one line a fact.
pub(super) fn status(status: &GetStatusResponse, now: Timestamp) -> String {
    let zone = TimeZone::system();
    let yes_no = |fact: bool| if fact { "yes" } else { "no" }.to_owned();
    let core_limit = match status.core_limit {
        0 => "none are written".to_owned(),
        u64::MAX => "unlimited".to_owned(),
        bytes => format!("{bytes} bytes"),
    };
    let protection = match memory_protection(status.memory_protection()) {
        Some("memfd_secret") => "memfd_secret (unreadable even for root, never swapped)",
        Some("mlock") => "mlock (never swapped, left out of dumps)",
        Some(_) => "NONE: the master secret can be swapped out",
        None => "unknown",
    };
    let mut facts = vec![
        (
            "agent",
            format!(
                "sfkey-agent {}, protocol {}",
                escape(&status.version),
                status.protocol_version
            ),
        ),
        ("pid", status.pid.to_string()),
        ("socket", socket(status)),
        ("started", moment(status.started_at, now, &zone)),
        ("locked", yes_no(status.locked)),
        ("accounts", status.account_count.to_string()),
        ("memory protection", protection.to_owned()),
        ("may be traced or dumped", yes_no(status.dumpable)),
        ("core dumps", core_limit),
        ("machine swaps", yes_no(status.swap)),
        ("clock", skew(status.clock_skew_seconds)),
    ];
    facts.extend([
        (
            "token requests",
            format!(
                "{}, {} of them from memory",
                status.token_requests, status.cache_hits
            ),
        ),
        (
            "exchanges",
            format!(
                "{} with Salesforce, {} failed",
                status.exchanges, status.exchange_failures
            ),
        ),
        (
            "connections",
            format!(
                "{} open, {} refused since start",
                status.connections, status.connections_refused
            ),
        ),
    ]);
    facts.extend(access(status));
    facts.extend(restraint(status, now, &zone));
    let rows: Vec<_> = facts
        .into_iter()
        .map(|(name, value)| [name.to_owned(), value])
        .collect();
    facts_table(&rows)
}

/// Why Salesforce is not asked now, where that is so.
fn restraint(status: &GetStatusResponse, now: Timestamp, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let hold_offs = status.hold_offs.iter().map(|hold_off| {
        let (account, message) = (escape(&hold_off.account), escape(&hold_off.message));
        let until = moment(hold_off.until, now, zone);
        ("held off", format!("{account} until {until}: {message}"))
    });
    let outages = status.outages.iter().map(|outage| {
        let (host, until) = (escape(&outage.login_url), moment(outage.until, now, zone));
        ("outage", format!("{host}, tried again {until}"))
    });
    let budgets = status.login_budgets.iter().map(|budget| {
        let user = escape(&budget.username);
        let next = budget.next_at.map_or_else(String::new, |next| {
            format!(", the next one {}", moment(next, now, zone))
        });
        ("logins left", format!("{} for {user}{next}", budget.left))
    });
    hold_offs.chain(outages).chain(budgets).collect()
}

fn socket(status: &GetStatusResponse) -> String {
    let path = escape(&status.socket);
    match (status.socket_lost, status.socket_activated) {
        (true, _) => format!("{path}: REMOVED OR REPLACED, no new client reaches this agent"),
        (false, true) => format!("{path}, bound by the service manager"),
        (false, false) => path,
    }
}

/// What `sfkey add` did.
pub(super) fn added(added: &AddAccountResponse, saved: Option<&Path>, now: Timestamp) -> String {
    let done = match added.outcome() {
        Outcome::Unchanged => "Already loaded:",
        Outcome::Replaced => "Replaced",
        Outcome::Added | Outcome::Unspecified => "Added",
    };
    let Some(account) = &added.account else {
        return format!("{done}\n");
    };
    let zone = TimeZone::system();
    let mut text = format!(
        "{done} {}: {} at {}\n",
        escape(&account.account),
        escape(&account.username),
        escape(&account.login_url)
    );
    let mut rows = vec![[
        "  key".to_owned(),
        format!("SHA256 {}", escape(&account.key_fingerprint)),
    ]];
    if account.is_default {
        rows.push([
            "  default".to_owned(),
            "yes, for calls that name no account".to_owned(),
        ]);
    }
    let ends = unloads(account, now, &zone);
    if ends != "-" {
        rows.push(["  unloads".to_owned(), ends]);
    }
    if let Some(path) = saved {
        rows.push([
            "  saved".to_owned(),
            format!(
                "in {}; from now on: sfkey add {}",
                escape(&path.to_string_lossy()),
                escape(&account.account)
            ),
        ]);
    }
    text.push_str(&facts_table(&rows));
    text
}

/// Who a token belongs to, one line a fact.
pub(super) fn owner(owner: &WhoAmIResponse) -> String {
    let facts = [
        ("account", Some(&owner.account)),
        ("username", Some(&owner.username)),
        ("name", owner.name.as_ref()),
        ("e-mail", owner.email.as_ref()),
        ("user", Some(&owner.user_id)),
        ("organization", Some(&owner.org_id)),
        ("instance", Some(&owner.instance_url)),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(name, value)| Some([name.to_owned(), escape(value?)]));
    facts_table(&known.collect::<Vec<_>>())
}

/// What became of the tokens, one line each.
pub(super) fn revocations(revocations: &[Revocation]) -> String {
    let mut text = "Wiped: the agent holds no key and no token any more.\n".to_owned();
    if revocations.is_empty() {
        text.push_str("There was no token to revoke.\n");
    }
    for revocation in revocations {
        let account = escape(&revocation.account);
        let _infallible = match revocation.revoked {
            true => writeln!(text, "{account}: its token is revoked"),
            false => writeln!(
                text,
                "{account}: its token was NOT revoked: {}",
                escape(&revocation.detail)
            ),
        };
    }
    text
}

/// The settings of the configuration, each with where it comes from.
pub(super) fn settings(settings: &[Setting], width: Option<usize>, colour: Colour) -> String {
    if settings.is_empty() {
        return "Nothing is set. To begin: sfkey add NAME … --save\n".to_owned();
    }
    let mut rows = vec![["SETTING", "VALUE", "FROM"].map(str::to_owned)];
    for setting in settings {
        let from = match (setting.source, setting.variable, setting.line) {
            (Source::Flag, ..) => "the command line".to_owned(),
            (Source::Environment, Some(variable), _) => variable.to_owned(),
            (Source::File, _, Some(line)) => format!("line {line}"),
            (Source::Environment | Source::File, ..) => "-".to_owned(),
            (Source::Default, ..) => "default".to_owned(),
        };
        rows.push([escape(&setting.setting), escape(&setting.value), from]);
    }
    table(&rows, width, colour)
}

/// A moment as local time, and how far away it is.
pub(crate) fn local_moment(at: Timestamp, now: Timestamp) -> String {
    moment(at.as_second(), now, &TimeZone::system())
}

fn token_state(account: &Account, now: Timestamp, zone: &TimeZone) -> String {
    let Some(token) = &account.token else {
        return "unknown".to_owned();
    };
    let when = token.expires_at.map(|at| moment(at, now, zone));
    let assumed = match token.expiry_source() {
        ExpirySource::Assumed => ", assumed",
        _ => "",
    };
    match (token.state(), when) {
        (State::Live, Some(when)) => format!("live until {when}{assumed}"),
        (State::Live, None) => "live".to_owned(),
        (State::Expired, Some(when)) => format!("expired {when}{assumed}"),
        (State::Expired, None) => "expired".to_owned(),
        (State::Failing, _) => "FAILING".to_owned(),
        (State::None, _) => "none yet".to_owned(),
        (State::Unspecified, _) => "unknown".to_owned(),
    }
}

fn unloads(account: &Account, now: Timestamp, zone: &TimeZone) -> String {
    match (account.lifetime_ends_at, account.idle_ends_at) {
        (None, None) => "-".to_owned(),
        (Some(end), None) => moment(end, now, zone),
        (None, Some(end)) => format!("if not used, {}", moment(end, now, zone)),
        (Some(end), Some(idle)) if idle >= end => moment(end, now, zone),
        (Some(end), Some(idle)) => {
            format!(
                "{}; if not used, {}",
                moment(end, now, zone),
                moment(idle, now, zone)
            )
        }
    }
}

fn skew(seconds: Option<i64>) -> String {
    let Some(skew) = seconds else {
        return "not compared with Salesforce yet".to_owned();
    };
    let by = span(skew.unsigned_abs());
    match (skew, skew.unsigned_abs() > NOTABLE_SKEW_SECONDS) {
        (_, false) => "agrees with Salesforce".to_owned(),
        (1.., true) => format!("{by} ahead of Salesforce: set this machine's clock"),
        (..=0, true) => format!("{by} behind Salesforce: set this machine's clock"),
    }
}

/// A moment as local time with its offset, and how far away it is.
fn moment(epoch_seconds: i64, now: Timestamp, zone: &TimeZone) -> String {
    let Ok(at) = Timestamp::from_second(epoch_seconds) else {
        return format!("{epoch_seconds} s after 1970");
    };
    let local = at.to_zoned_datetime(zone.clone());
    let distance = epoch_seconds.saturating_sub(now.as_second());
    format!(
        "{} ({})",
        local.strftime("%Y-%m-%d %H:%M:%S %:z"),
        relative(distance)
    )
}

/// How far away something is: `in 1 h 52 min`, `5 s ago`.
fn relative(seconds: i64) -> String {
    // The agent's clock is read a moment after the client's.
    if seconds.abs() <= 1 {
        return "now".to_owned();
    }
    let span = span(seconds.unsigned_abs());
    if seconds < 0 {
        format!("{span} ago")
    } else {
        format!("in {span}")
    }
}

/// A length of time in its two largest units, rounded down.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, sub: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {sub}"),
    };
    match () {
        () if days > 0 => two(days, "d", hours % 24, "h"),
        () if hours > 0 => two(hours, "h", minutes % 60, "min"),
        () if minutes >= 10 => format!("{minutes} min"),
        () if minutes > 0 => two(minutes, "min", seconds % 60, "s"),
        () => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use sfkey::proto::v1::TokenState;

    use super::*;

    const NOW: i64 = 1_795_489_200; // 2026-11-24 03:00:00 UTC

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).expect("a moment")
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (95, "1 min 35 s"),
            (601, "10 min"),
            (3600, "1 h"),
            (6720, "1 h 52 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(relative(-5), "5 s ago");
        assert_eq!(relative(6720), "in 1 h 52 min");
    }

    #[test]
    fn moments_are_absolute_and_relative() {
        let utc = TimeZone::UTC;
        assert_eq!(
            moment(NOW + 90, now(), &utc),
            "2026-11-24 03:01:30 +00:00 (in 1 min 30 s)"
        );
        assert_eq!(
            moment(i64::MAX, now(), &utc),
            format!("{} s after 1970", i64::MAX)
        );
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(moment(NOW, now(), &east), "2026-11-24 05:00:00 +02:00 (now)");
    }

    #[test]
    fn what_the_agent_says_cannot_move_the_cursor() {
        let mut account = Account {
            account: "prod".to_owned(),
            username: "evil\u{1b}[1A".to_owned(),
            last_error: Some("a\nb".to_owned()),
            ..Account::default()
        };
        let mut state = TokenState::default();
        state.set_state(State::Failing);
        account.token = Some(state);
        let text = accounts(&[account], now(), None, Colour::none());
        assert!(
            text.contains(r"evil\u{1b}[1A") && text.contains(r"prod: last error: a\nb"),
            "{text}"
        );
        assert!(text.contains("FAILING"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        assert_eq!(
            skew(Some(-240)),
            "4 min behind Salesforce: set this machine's clock"
        );
        assert_eq!(
            skew(Some(31)),
            "31 s ahead of Salesforce: set this machine's clock"
        );
        assert_eq!(skew(Some(-30)), "agrees with Salesforce");
    }
}
