//! The restricted socket: who is answered there, and with what. The table of the manual, lived through.

use std::{
    fs,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::PathBuf,
};

use sfkey_proto::{Reason, Refusal};
use sfkey_tests::support::{
    Calls, Home, Sfkey, Stage, StageSetup,
    home::set_mode,
    refusal,
    stranger::{self, act_as, act_as_in_runtime, copy_of, is_possible},
};
use tempfile::TempDir;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use sfkey_tests::support::wire;

/// Users and a group that nobody has.
const OWNER: u32 = stranger::UID;
const LISTED: u32 = 61_924;
const MEMBER: u32 = 61_925;
const OTHER: u32 = 61_926;
const GROUP: u32 = 61_930;

const MANUAL: &str = include_str!("../../../docs/operations.md");

/// An agent of the user [`OWNER`] that has loaded `prod` and `ci`, with both sockets open to everybody as far as
/// the file system goes.
struct Scene {
    stage: Stage,
    programs: TempDir,
}

impl Scene {
    fn new(uids: &str) -> Self {
        let programs = tempfile::tempdir().expect("a directory");
        let program = copy_of("sfkey-agent", programs.path());
        let home = Home::of_user(OWNER);
        home.settings(&format!(
            "[token_socket]\nmode = \"0666\"\nuids = {uids}\ngids = [{GROUP}]\naccounts = [\"ci\", \"unloaded\"]\n"
        ));
        let setup = StageSetup::default().home(home);
        let stage = setup.launch(|launch| launch.as_user(OWNER, program)).empty();
        let (path, specs) = (stage.home.socket(), [stage.spec("prod"), stage.spec("ci")]);
        act_as_in_runtime(OWNER, &[], move || async move {
            let calls = Calls::to(&path).await;
            for spec in specs {
                calls.add(&spec).await.expect("loaded");
            }
        });
        stage.home.let_everybody_in();
        Self { stage, programs }
    }

    fn as_whom<R: Send + 'static, F: Future<Output = R>>(
        &self,
        (uid, groups): (u32, &[u32]),
        socket: &str,
        act: impl FnOnce(PathBuf) -> F + Send + 'static,
    ) -> R {
        let path = match socket {
            "main" => self.stage.home.socket(),
            _ => self.stage.home.token_socket(),
        };
        act_as_in_runtime(uid, groups, move || act(path))
    }
}

/// What a cell of the table promises, held true.
async fn expect(promise: &str, path: PathBuf) {
    match promise {
        "nothing" => {
            // The connection is closed unread: no answer of the agent comes, not even a refusal.
            let answer = match Calls::try_to(&path).await {
                Ok(calls) => calls.token("ci").await.map(drop),
                Err(_) => return,
            };
            assert_eq!(Refusal::from_status(&answer.expect_err("no token")), None);
        }
        "everything" => {
            let calls = Calls::to(&path).await;
            calls.status().await.expect("a status");
            calls.token("prod").await.expect("any token");
        }
        "tokens of the accounts listed" => expect_listed_tokens_alone(&Calls::to(&path).await).await,
        other => panic!("the test does not know what {other:?} means"),
    }
}

async fn expect_listed_tokens_alone(calls: &Calls) {
    assert_eq!(calls.token("ci").await.expect("a listed one").account, "ci");
    assert_eq!(calls.token("").await.expect("the only one shown").account, "ci");
    let names = calls.list().await.expect("a list").into_iter();
    assert_eq!(names.map(|account| account.account).collect::<Vec<_>>(), ["ci"]);
    // Loaded or not, nothing is told of what is not listed.
    for name in ["prod", "nobody"] {
        let denied = calls.refused_token(name).await;
        assert_eq!(denied.reason, Reason::PolicyDenied);
        assert_eq!(
            denied.message,
            format!("account {name} is not served on this socket")
        );
        assert!(denied.fix.contains("[token_socket] accounts"), "{denied:?}");
    }
    assert_eq!(
        calls.refused_token("unloaded").await.reason,
        Reason::AccountNotLoaded
    );
    let status = calls.status().await.expect_err("no AgentService here");
    assert_eq!((status.code(), status.details()), (Code::Unimplemented, &b""[..]));
    let mut health = HealthClient::new(calls.channel());
    let whole = health.check(HealthCheckRequest::default()).await;
    whole.expect("health is served");
    let service = "sfkey.agent.v1.AgentService".to_owned();
    health
        .check(HealthCheckRequest { service })
        .await
        .expect_err("not here");
}

/// Cells of the table in the manual: caller, main socket, restricted socket.
fn rows() -> Vec<[&'static str; 3]> {
    let lines = MANUAL.lines().skip_while(|line| !line.starts_with("| caller |"));
    let cells = |line: &'static str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        <[&str; 3]>::try_from(cells).expect("three columns")
    };
    lines
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

#[tokio::test]
async fn every_caller_may_do_at_each_socket_what_the_manual_says() {
    if !is_possible("every_caller_may_do_at_each_socket_what_the_manual_says") {
        return;
    }
    let (without_root, with_root) = (
        Scene::new(&format!("[{LISTED}]")),
        Scene::new(&format!("[{LISTED}, 0]")),
    );
    assert_eq!(rows().len(), 6, "the table has a row for every caller");
    for [caller, main, token] in rows() {
        let (scene, who): (_, (u32, &'static [u32])) = match caller {
            "the agent's own user" => (&without_root, (OWNER, &[])),
            "a user in `uids`" => (&without_root, (LISTED, &[])),
            "a member of a group in `gids`" => (&without_root, (MEMBER, &[61_931, GROUP])),
            "any other user" => (&without_root, (OTHER, &[])),
            "root" => (&without_root, (0, &[GROUP])),
            "root, with 0 in `uids`" => (&with_root, (0, &[])),
            other => panic!("who is {other:?}?"),
        };
        for (socket, promise) in [("main", main), ("token", token)] {
            scene.as_whom(who, socket, move |path| expect(promise, path));
        }
    }
}

#[tokio::test]
async fn another_users_sfkey_gets_a_listed_token_and_words_for_everything_else() {
    if !is_possible("another_users_sfkey_gets_a_listed_token_and_words_for_everything_else") {
        return;
    }
    let scene = Scene::new(&format!("[{LISTED}]"));
    let program = copy_of("sfkey", scene.programs.path());
    let home = Home::of_user(LISTED);
    let socket = scene.stage.home.token_socket().display().to_string();
    let sfkey = |arguments: &[&str]| {
        let arguments = ["--socket", &socket].into_iter().chain(arguments.iter().copied());
        Sfkey::program(program.clone(), &home, arguments)
            .as_user(LISTED)
            .run()
    };
    let token = sfkey(&["token", "ci"]).done().out();
    assert!(token.starts_with("00D"), "{token}");
    let (error, fix) = sfkey(&["token", "prod"]).failed(6);
    assert_eq!(error, "account prod is not served on this socket");
    assert!(fix.contains("[token_socket] accounts"), "{fix}");
    let (error, _) = sfkey(&["status"]).failed(3);
    assert!(error.contains("restricted"), "{error}");
}

#[tokio::test]
async fn the_file_system_opens_socket_and_directory_to_the_group_and_no_further() {
    let place = "the_file_system_opens_socket_and_directory_to_the_group_and_no_further";
    if !is_possible(place) {
        return;
    }
    let programs = tempfile::tempdir().expect("a directory");
    let agent = copy_of("sfkey-agent", programs.path());
    let script = programs.path().join("member");
    let text = format!(
        "#!/bin/sh\nexec setpriv --reuid {OWNER} --regid {OWNER} --groups {GROUP} '{}' \"$@\"\n",
        agent.display()
    );
    fs::write(&script, text).expect("written");
    set_mode(&script, 0o755);
    let home = Home::of_user(OWNER);
    home.settings(&format!(
        "[token_socket]\ngids = [{GROUP}]\naccounts = [\"ci\"]\n"
    ));
    let setup = StageSetup::default().home(home);
    let stage = setup.launch(|launch| launch.as_user(0, script)).empty();
    let socket = stage.home.token_socket();
    let found = |path: &std::path::Path| {
        let found = fs::metadata(path).expect("it is there");
        (found.mode() & 0o7777, found.uid(), found.gid())
    };
    assert_eq!(found(&socket), (0o660, OWNER, GROUP));
    assert_eq!(
        found(socket.parent().expect("a directory")),
        (0o750, OWNER, GROUP)
    );
    for path in [".", "run"] {
        set_mode(&stage.home.path(path), 0o755);
    }
    let reaches = |uid: u32, groups: &[u32]| {
        let socket = socket.clone();
        act_as_in_runtime(uid, groups, move || async move {
            Calls::try_to(&socket).await.is_ok()
        })
    };
    assert!(reaches(MEMBER, &[GROUP]));
    assert!(!reaches(OTHER, &[]));
}

#[tokio::test]
async fn one_user_does_not_fill_the_restricted_socket_for_the_others() {
    if !is_possible("one_user_does_not_fill_the_restricted_socket_for_the_others") {
        return;
    }
    let home = Home::new();
    home.settings(&format!(
        "[token_socket]\nmode = \"0666\"\nuids = [{LISTED}, {OTHER}]\naccounts = [\"prod\"]\nconnections_per_uid = 3\n"
    ));
    let stage = StageSetup::default().home(home).ready().await;
    stage.home.let_everybody_in();
    let socket = stage.home.token_socket();
    let path = socket.clone();
    let _held = act_as(LISTED, &[], move || {
        let connect = || UnixStream::connect(&path).expect("the modes let everybody in");
        let held = [connect(), connect(), connect()];
        held.iter()
            .for_each(|stream| assert!(wire::send(stream, &wire::opening())));
        assert_eq!(
            wire::read_to_close(&connect()),
            b"",
            "a fourth one is closed unread"
        );
        held
    });
    let other = act_as_in_runtime(OTHER, &[], move || async move {
        Calls::to(&socket).await.token("prod").await
    });
    other.expect("there is room for others");
    let log = stage.agent.log().text();
    assert!(
        log.contains(&format!("user {LISTED} has 3 connections already")),
        "{log}"
    );
    stage
        .calls()
        .await
        .token("prod")
        .await
        .expect("the own user, too");
}

#[tokio::test]
async fn a_locked_agent_refuses_and_closes_the_restricted_sockets_connections() {
    let home = Home::new();
    home.settings("[token_socket]\naccounts = [\"prod\"]\n");
    let stage = StageSetup::default().home(home).ready().await;
    let restricted = Calls::to(&stage.home.token_socket()).await;
    restricted.token("prod").await.expect("a token");
    let passphrase = stage.home.write("passphrase", "correct horse battery");
    let lock = stage
        .sfkey(["lock", "--passphrase-file", &passphrase.display().to_string()])
        .run();
    assert_eq!(lock.done().code, 0);
    restricted
        .token("prod")
        .await
        .expect_err("that connection is closed");
    let refused = Calls::to(&stage.home.token_socket()).await.token("prod").await;
    assert_eq!(refusal(&refused.expect_err("locked")).reason, Reason::Locked);
}

#[test]
fn a_restricted_socket_for_no_account_is_an_error_at_start() {
    let home = Home::new();
    let path = home.path("run/elsewhere/token.sock").display().to_string();
    let launch = sfkey_tests::support::Launch::default().arguments(["--token-socket", &path]);
    let ended = sfkey_tests::support::Agent::start_in_vain(&home, &launch);
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (
            Some(1),
            "error: the restricted socket is there for no account\n\
             try: list them in agent.toml, [token_socket]: accounts = [\"prod\"]\n"
        )
    );
    assert!(!home.socket().exists());
}
