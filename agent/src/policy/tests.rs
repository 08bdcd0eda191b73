use std::{collections::BTreeSet, path::PathBuf};

use proptest::prelude::*;
use sfkey_proto::Reason;

use super::*;
use crate::{
    peer::Executable,
    settings::{Settings, UnitName},
};

const OWNER: u32 = 1000;
const LISTED: u32 = 1001;
const GROUP: u32 = 500;

fn name(text: &str) -> AccountName {
    text.parse().expect("a name")
}

fn rules(text: &str) -> Rules {
    Rules::new(OWNER, &Settings::parse(text).expect("good settings"))
}

fn main_peer(uid: u32) -> Peer {
    Peer::for_test(uid)
}

fn token_peer(uid: u32, groups: &[u32]) -> Peer {
    Peer::of_socket_for_test(Socket::Token, uid, groups)
}

fn nothing_seen() -> Seen {
    Seen::default()
}

fn nowhere(_: &Path) -> Option<FileId> {
    None
}

fn decide(rules: &Rules, peer: &Peer, account: &str, seen: Seen) -> Result<Verdict, Denied> {
    let files = |path: &Path| match path.to_str() {
        Some("/usr/bin/node") => Some(FileId::for_test(1)),
        Some("/usr/bin/python3") => Some(FileId::for_test(2)),
        _ => None,
    };
    rules.permit(peer, name(account), || seen, files)
}

fn in_unit(unit: UnitName) -> Seen {
    Seen {
        unit: Some(unit),
        ..Seen::default()
    }
}

fn running(path: &str, inode: u64) -> Seen {
    let executable = Executable {
        path: PathBuf::from(path),
        file: FileId::for_test(inode),
    };
    Seen {
        executable: Some(executable),
        ..Seen::default()
    }
}

#[test]
fn the_owner_is_permitted_and_every_other_user_root_included_is_not() {
    let policy = Policy::of(rules(""));
    let allowed = policy.permit(&main_peer(OWNER), name("prod")).expect("the owner");
    assert!(matches!(allowed, Verdict::Permit(permit) if *permit.account() == name("prod")));
    assert!(policy.control(&main_peer(OWNER)).is_ok());
    for other in [0, 999, 1001, u32::MAX] {
        let denied = policy
            .permit(&main_peer(other), name("prod"))
            .expect_err("denied");
        assert_eq!(denied.reason(), Reason::PeerDenied);
        assert_eq!(policy.control(&main_peer(other)).err(), Some(Denied::Peer));
    }
}

const SHARED: &str = r#"
[token_socket]
uids = [1001]
gids = [500]
accounts = ["ci"]
"#;

#[test]
fn the_restricted_socket_answers_the_owner_and_whoever_is_listed() {
    let rules = rules(SHARED);
    for (uid, groups, answered) in [
        (OWNER, &[][..], true),
        (LISTED, &[], true),
        (1002, &[GROUP][..], true),
        (1002, &[501], false),
        (1002, &[], false),
        (0, &[], false),
        (0, &[GROUP], false),
    ] {
        let peer = token_peer(uid, groups);
        assert_eq!(rules.answers(&peer), answered, "{uid} {groups:?}");
        let denied = decide(&rules, &peer, "ci", nothing_seen()).err();
        assert_eq!(denied, (!answered).then_some(Denied::Peer), "{uid} {groups:?}");
        assert!(!rules.answers(&Peer::of_socket_for_test(Socket::Main, uid, groups)) || uid == OWNER);
    }
    let with_root = Rules::new(
        OWNER,
        &Settings::parse("[token_socket]\nuids = [0]").expect("good"),
    );
    assert!(with_root.answers(&token_peer(0, &[])));
}

#[test]
fn the_restricted_socket_serves_the_listed_accounts_only_to_the_owner_too() {
    let rules = rules(SHARED);
    for uid in [OWNER, LISTED] {
        let peer = token_peer(uid, &[]);
        assert!(decide(&rules, &peer, "ci", nothing_seen()).is_ok());
        let denied = decide(&rules, &peer, "prod", nothing_seen()).expect_err("not listed");
        assert_eq!(denied, Denied::NotListed(name("prod")));
        assert_eq!(denied.reason(), Reason::PolicyDenied);
    }
    assert!(decide(&rules, &main_peer(OWNER), "prod", nothing_seen()).is_ok());
}

#[test]
fn nobody_changes_anything_through_the_restricted_socket() {
    let policy = Policy::of(rules(SHARED));
    for uid in [OWNER, LISTED, 0] {
        assert_eq!(policy.control(&token_peer(uid, &[])).err(), Some(Denied::Peer));
    }
}

#[test]
fn without_a_restricted_socket_nothing_that_claims_to_come_by_it_is_answered() {
    assert!(!rules("").answers(&token_peer(OWNER, &[])));
}

#[test]
fn units_must_match_in_name_and_in_whose_they_are() {
    let rules = rules("[accounts.prod.policy]\nunits = [\"nightly.service\", \"user/backup.service\"]");
    let system = |name: &str| UnitName::System(name.to_owned());
    let user = |name: &str| UnitName::User(name.to_owned());
    for (unit, allowed) in [
        (system("nightly.service"), true),
        (user("nightly.service"), false),
        (user("backup.service"), true),
        (system("backup.service"), false),
        (system("other.service"), false),
    ] {
        let decision = decide(&rules, &main_peer(OWNER), "prod", in_unit(unit.clone()));
        assert_eq!(decision.is_ok(), allowed, "{unit}");
        if let Err(denied) = decision {
            assert!(denied.to_string().contains(&unit.to_string()), "{denied}");
            assert_eq!(denied.reason(), Reason::PolicyDenied);
        }
    }
    let denied = decide(&rules, &main_peer(OWNER), "prod", nothing_seen()).expect_err("no unit");
    assert!(denied.to_string().contains("no systemd unit"), "{denied}");
    assert!(decide(&rules, &main_peer(OWNER), "other", nothing_seen()).is_ok());
}

#[test]
fn a_program_is_the_file_itself_and_not_what_its_path_says() {
    let rules = rules("[accounts.prod.policy]\nexecutables = [\"/usr/bin/node\", \"/gone\"]");
    for (seen, allowed) in [
        (running("/usr/bin/node", 1), true),
        (running("/proc/self/root/usr/bin/node", 1), true),
        // Another mount namespace can show any file at that path.
        (running("/usr/bin/node", 7), false),
        (running("/usr/bin/python3", 2), false),
        (running("/gone", 9), false),
        (nothing_seen(), false),
    ] {
        let decision = decide(&rules, &main_peer(OWNER), "prod", seen.clone());
        assert_eq!(decision.is_ok(), allowed, "{seen:?}");
    }
    let hostile = running("/tmp/x\n\u{1b}[2Jyes", 7);
    let denied = decide(&rules, &main_peer(OWNER), "prod", hostile).expect_err("denied");
    assert!(!denied.to_string().contains(char::is_control), "{denied}");
}

#[test]
fn all_that_is_said_must_hold_and_an_empty_list_lets_nobody_in() {
    let both = rules(
        "[accounts.prod.policy]\nunits = [\"a.service\"]\nexecutables = [\"/usr/bin/node\"]\n[accounts.no.policy]\nunits = []",
    );
    let unit = || UnitName::System("a.service".to_owned());
    let whole = Seen {
        unit: Some(unit()),
        ..running("/usr/bin/node", 1)
    };
    assert!(decide(&both, &main_peer(OWNER), "prod", whole.clone()).is_ok());
    assert!(decide(&both, &main_peer(OWNER), "prod", in_unit(unit())).is_err());
    assert!(decide(&both, &main_peer(OWNER), "prod", running("/usr/bin/node", 1)).is_err());
    assert!(decide(&both, &main_peer(OWNER), "no", whole).is_err());
}

#[test]
fn what_is_to_be_confirmed_is_a_question_to_whoever_else_may_and_a_no_to_the_rest() {
    let rules = rules("[accounts.prod.policy]\nconfirm = \"15m\"\nunits = [\"a.service\"]");
    let unit = in_unit(UnitName::System("a.service".to_owned()));
    let verdict = decide(&rules, &main_peer(OWNER), "prod", unit).expect("a question");
    assert!(matches!(verdict, Verdict::Ask(question) if *question.account() == name("prod")));
    assert!(matches!(
        decide(&rules, &main_peer(OWNER), "prod", nothing_seen()),
        Err(Denied::Unit { .. })
    ));
}

#[test]
fn a_process_is_looked_at_only_when_a_rule_asks() {
    let rules = rules("[accounts.prod.policy]\nunits = [\"a.service\"]");
    let looked = || panic!("nobody asked");
    assert!(
        rules
            .permit(&main_peer(OWNER), name("other"), looked, nowhere)
            .is_ok()
    );
}

#[test]
fn what_a_file_asks_for_and_cannot_be_had_is_an_error() {
    let unknown = || Err(std::io::Error::from(std::io::ErrorKind::Unsupported));
    for (text, identity, good) in [
        ("", unknown(), true),
        ("[accounts.a.policy]\nconfirm = \"always\"", unknown(), true),
        ("[accounts.a.policy]\nunits = [\"a.service\"]", unknown(), false),
        ("[accounts.a.policy]\nexecutables = [\"/x\"]", unknown(), false),
        ("[accounts.a.policy]\nexecutables = [\"/x\"]", Ok(()), true),
        ("[token_socket]", Ok(()), false),
        (SHARED, Ok(()), true),
    ] {
        assert_eq!(
            require_applicable(&rules(text), None, &identity, false).is_ok(),
            good,
            "{text}"
        );
    }
}

#[test]
fn what_needs_to_see_other_users_and_their_programs_is_an_error_where_they_are_veiled() {
    for (text, good) in [
        ("", true),
        (
            "[accounts.a.policy]\nconfirm = \"always\"\nunits = [\"a.service\"]",
            true,
        ),
        ("[token_socket]\naccounts = [\"a\"]", true),
        ("[token_socket]\naccounts = [\"a\"]\nuids = [1001]", false),
        ("[token_socket]\naccounts = [\"a\"]\ngids = [1001]", false),
        ("[accounts.a.policy]\nexecutables = [\"/x\"]", false),
    ] {
        let applied = require_applicable(&rules(text), None, &Ok(()), true);
        assert_eq!(applied.is_ok(), good, "{text}");
    }
}

#[test]
fn what_is_stricter_is_taken_over_and_what_allows_more_is_left_and_told() {
    let old = rules(
        r#"
        [token_socket]
        uids = [1, 2]
        accounts = ["ci", "dev"]
        [accounts.a.policy]
        units = ["a.service", "b.service"]
        confirm = "15m"
        [accounts.b.policy]
        executables = ["/x"]
        "#,
    );
    let wanted = rules(
        r#"
        [token_socket]
        uids = [2, 3]
        accounts = ["ci"]
        [accounts.a.policy]
        units = ["b.service", "c.service"]
        confirm = "5m"
        [accounts.c.policy]
        confirm = "always"
        "#,
    );
    let (rules, left) = old.tightened(&wanted);
    let socket = rules.token_socket.expect("it stays");
    assert_eq!(
        (socket.uids, socket.accounts),
        (BTreeSet::from([2]), BTreeSet::from([name("ci")]))
    );
    let unit = UnitName::System("b.service".to_owned());
    let a = &rules.accounts[&name("a")];
    assert_eq!(a.units, Some(BTreeSet::from([unit])));
    let five_minutes = std::time::Duration::from_secs(300);
    assert_eq!(a.confirm, Some(Confirm::Remember(five_minutes)));
    assert_eq!(
        rules.accounts[&name("b")].executables,
        Some(BTreeSet::from(["/x".into()]))
    );
    assert_eq!(rules.accounts[&name("c")].confirm, Some(Confirm::Always));
    assert_eq!(
        left,
        [
            "[accounts.a.policy] units has new entries",
            "[accounts.b.policy] executables is gone",
            "[token_socket] uids has new entries"
        ]
    );
}

fn some_units() -> impl Strategy<Value = Option<BTreeSet<UnitName>>> {
    let unit = prop::sample::select(vec!["a.service", "b.service", "c.service"]);
    let unit = unit.prop_map(|name| UnitName::System(name.to_owned()));
    prop::option::of(prop::collection::btree_set(unit, 0..3))
}

fn some_rules() -> impl Strategy<Value = Rules> {
    let accounts = || prop::sample::select(vec!["a", "b", "c"]).prop_map(name);
    let rule = some_units().prop_map(|units| AccountRule {
        units,
        ..AccountRule::default()
    });
    let socket = (
        prop::collection::btree_set(0_u32..4, 0..3),
        prop::collection::btree_set(0_u32..4, 0..3),
        prop::collection::btree_set(accounts(), 0..3),
    );
    let socket = socket.prop_map(|(uids, gids, accounts)| TokenSocketRule { uids, gids, accounts });
    (
        prop::option::of(socket),
        prop::collection::btree_map(accounts(), rule, 0..3),
    )
        .prop_map(|(token_socket, accounts)| Rules {
            owner: 2,
            token_socket,
            accounts,
        })
}

fn some_peer() -> impl Strategy<Value = Peer> {
    let socket = prop::sample::select(vec![Socket::Main, Socket::Token]);
    (socket, 0_u32..5, prop::collection::vec(0_u32..5, 0..3))
        .prop_map(|(socket, uid, groups)| Peer::of_socket_for_test(socket, uid, &groups))
}

proptest! {
    #[test]
    fn tightened_rules_allow_what_both_allow_and_nothing_else(
        old in some_rules(), wanted in some_rules(), peer in some_peer(),
        account in prop::sample::select(vec!["a", "b", "c"]),
        unit in prop::sample::select(vec!["a.service", "b.service", "c.service"]),
    ) {
        let allows = |rules: &Rules| {
            let seen = in_unit(UnitName::System(unit.to_owned()));
            rules.permit(&peer, name(account), || seen, nowhere).is_ok()
        };
        let (tightened, left) = old.tightened(&wanted);
        prop_assert_eq!(allows(&tightened), allows(&old) && allows(&wanted));
        prop_assert!(!allows(&wanted) || allows(&old) || !left.is_empty(), "what is left is told");
    }

    #[test]
    fn whoever_is_neither_the_owner_nor_listed_gets_nothing(rules in some_rules(), peer in some_peer()) {
        let listed = rules.token_socket.as_ref().is_some_and(|socket| {
            socket.uids.contains(&peer.uid()) || socket.gids.iter().any(|gid| peer.is_in(*gid))
        });
        if peer.uid() != rules.owner && (peer.socket() == Socket::Main || !listed) {
            let denied = rules.permit(&peer, name("a"), nothing_seen, nowhere).expect_err("denied");
            prop_assert_eq!(denied, Denied::Peer);
        }
    }
}
