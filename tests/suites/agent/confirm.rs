//! The user is asked: by a real program, of real callers.

use std::{
    fs,
    io::Read,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use sfkey_proto::{Reason, Refusal};
use sfkey_tests::support::{Calls, Home, Sfkey, Stage, StageSetup, binaries, home, refusal};
use tokio::task::JoinSet;

/// A stage whose account `prod` needs the user's word, given by a script.
struct Scene {
    stage: Stage,
}

impl Scene {
    /// `confirm` is the rule; `script` is what the program does once it has noted the question; `settings` come first.
    async fn new(confirm: &str, script: &str, settings: &str) -> Self {
        let home = Home::new();
        let questions = home.path("questions");
        let text = format!(
            "#!/bin/sh\nprintf '%s\\n--\\n' \"$1\" >>'{}'\n{script}\n",
            questions.display()
        );
        let askpass = home.write("askpass", text);
        home::set_mode(&askpass, 0o700);
        for name in ["asked", "answer"] {
            let path = home.path(name);
            rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).expect("a pipe");
        }
        home.settings(&format!(
            "askpass = {:?}\n{settings}\n[accounts.prod.policy]\nconfirm = {confirm:?}\n",
            askpass.display().to_string()
        ));
        Self {
            stage: StageSetup::default()
                .home(home)
                .launch(|launch| launch.variable("SFKEY_LOG", "debug"))
                .ready()
                .await,
        }
    }

    /// One whose program waits: it tells its process id through one pipe and takes the exit code from another.
    async fn waiting(confirm: &str, settings: &str) -> Self {
        let script = "cd \"$(dirname \"$0\")\" || exit 9\nexec 3>asked\necho $$ >&3\nread -r code <answer\nexit \"$code\"";
        Self::new(confirm, script, settings).await
    }

    async fn calls(&self) -> Calls {
        self.stage.calls().await
    }

    /// The questions put so far.
    fn questions(&self) -> Vec<String> {
        let text = fs::read_to_string(self.stage.home.path("questions")).unwrap_or_default();
        text.split_terminator("--\n").map(str::to_owned).collect()
    }

    /// Waits until the program asks. What comes out of the pipe ends when the program and all its children have.
    async fn asked(&self) -> fs::File {
        let path = self.stage.home.path("asked");
        let opened = tokio::task::spawn_blocking(move || fs::File::open(path).expect("it asks")).await;
        opened.expect("it was waited for")
    }

    fn answer(&self, code: u8) {
        fs::write(self.stage.home.path("answer"), format!("{code}\n")).expect("it listens");
    }
}

async fn ended(mut pipe: fs::File) {
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("readable");
    });
    read.await.expect("the program that asked has ended");
}

fn denied(refused: &Refusal, why: &str) {
    assert_eq!(refused.reason, Reason::ConfirmDenied);
    assert_eq!(
        refused.message,
        format!("the use of account prod was not confirmed: {why}")
    );
    assert!(!refused.fix.is_empty());
}

#[tokio::test]
async fn a_yes_gives_the_token_and_the_question_names_account_program_and_parents() {
    let scene = Scene::new("always", "", "").await;
    scene.calls().await.token("prod").await.expect("allowed");
    let [question] = &scene.questions()[..] else {
        panic!("not one question")
    };
    assert!(question.contains("the Salesforce account prod?"), "{question}");
    let own = std::env::current_exe().expect("known");
    let line = format!("Program: {} ({})\n", own.display(), std::process::id());
    assert!(question.contains(&line), "{question}");
    assert!(question.contains("Started by: /"), "{question}");
}

#[tokio::test]
async fn doctor_really_asks_and_tells_what_became_of_it() {
    for (script, code, status, told) in [
        ("", 0, "ok", "said yes"),
        ("exit 1", 0, "warning", "the user said no"),
        ("kill -SEGV $$", 1, "failed", "the program that asks failed"),
    ] {
        let scene = Scene::new("15m", script, "").await;
        let ran = scene.stage.sfkey(["doctor", "--askpass", "--json"]).run();
        let checks = ran.json()["checks"].as_array().expect("a list").clone();
        let found = checks
            .iter()
            .find(|check| check["id"] == "askpass")
            .expect("found");
        assert_eq!((ran.code, &found["status"]), (code, &status.into()), "{found}");
        assert!(found["detail"].as_str().expect("text").contains(told), "{found}");
        let [question] = &scene.questions()[..] else {
            panic!("not one question")
        };
        assert!(
            question.contains("It is a test") && !question.contains("prod"),
            "{question}"
        );
        // A yes to the test is a yes to nothing else.
        drop(scene.calls().await.token("prod").await);
        assert_eq!(scene.questions().len(), 2);
    }
    let stage = Stage::empty();
    let ran = stage.sfkey(["doctor", "--askpass"]).run();
    assert_eq!(ran.code, 1);
    assert!(
        ran.out().contains("no program that could ask") && ran.out().contains("agent.toml"),
        "{}",
        ran.out()
    );
}

#[tokio::test]
async fn a_no_is_a_no() {
    for script in ["exit 1", "echo no", "exit 255"] {
        let scene = Scene::new("15m", script, "").await;
        let why = "the user said no";
        denied(&scene.calls().await.refused_token("prod").await, why);
        let (error, fix) = scene.stage.sfkey(["token", "prod"]).run().failed(6);
        assert_eq!(error, format!("the use of account prod was not confirmed: {why}"));
        assert_eq!(fix, "run it again, and allow it");
        assert_eq!(scene.stage.sim.counters().asked, 0);
    }
}

#[tokio::test]
async fn a_program_that_crashes_is_missing_or_can_be_changed_by_others_is_a_no() {
    let scene = Scene::new("15m", "kill -SEGV $$", "").await;
    denied(
        &scene.calls().await.refused_token("prod").await,
        "the program that asks failed",
    );
    home::set_mode(&scene.stage.home.path("askpass"), 0o722);
    denied(
        &scene.calls().await.refused_token("prod").await,
        "there is no program that could ask",
    );
    home::set_mode(&scene.stage.home.path("askpass"), 0o600);
    denied(
        &scene.calls().await.refused_token("prod").await,
        "there is no program that could ask",
    );
    fs::remove_file(scene.stage.home.path("askpass")).expect("removed");
    denied(
        &scene.calls().await.refused_token("prod").await,
        "there is no program that could ask",
    );
    assert_eq!(scene.questions().len(), 1);
}

#[tokio::test]
async fn without_a_program_that_asks_the_agent_starts_warns_and_denies() {
    let home = Home::new();
    home.settings("[accounts.prod.policy]\nconfirm = \"15m\"\n");
    let stage = StageSetup::default().home(home).ready().await;
    denied(
        &stage.calls().await.refused_token("prod").await,
        "there is no program that could ask",
    );
    let log = stage.agent.log().text();
    assert!(log.contains("agent.toml names no askpass"), "{log}");
}

#[tokio::test]
async fn an_unanswered_question_is_a_no_and_taken_off_the_screen() {
    let scene = Scene::waiting("15m", "askpass_timeout = \"1s\"").await;
    let calls = scene.calls().await;
    let (refused, pipe) = tokio::join!(calls.refused_token("prod"), scene.asked());
    denied(&refused, "nobody answered in time");
    ended(pipe).await;
}

#[tokio::test]
async fn a_question_whose_caller_has_gone_is_taken_off_the_screen() {
    let scene = Scene::waiting("15m", "").await;
    let caller = scene.stage.sfkey(["token", "prod"]).start();
    let pipe = scene.asked().await;
    let mut caller = caller;
    caller.kill().expect("it waits");
    caller.wait().expect("it is a child");
    ended(pipe).await;
    // The next one is asked anew.
    let calls = scene.calls().await;
    let asked = async {
        let pipe = scene.asked().await;
        scene.answer(0);
        ended(pipe).await;
    };
    let (token, ()) = tokio::join!(calls.token("prod"), asked);
    token.expect("allowed");
    assert_eq!(scene.questions().len(), 2);
}

#[tokio::test]
async fn fifty_callers_at_once_are_one_question_and_others_are_served_meanwhile() {
    let scene = Scene::waiting("always", "").await;
    let calls = scene.calls().await;
    calls
        .add(&scene.stage.spec_of_new_user("free"))
        .await
        .expect("loaded");
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let calls = calls.clone();
        callers.spawn(async move { calls.token("prod").await.expect("allowed") });
    }
    let pipe = scene.asked().await;
    let other = scene.calls().await;
    other.token("free").await.expect("another account's token");
    calls
        .status()
        .await
        .expect("on the same connection, behind the fifty");
    scene.answer(0);
    assert_eq!(callers.join_all().await.len(), 50);
    ended(pipe).await;
    assert_eq!(scene.questions().len(), 1);
    let log = scene.stage.agent.log().text();
    assert!(log.contains("the user said yes account=prod callers=50"), "{log}");
}

#[tokio::test]
async fn fifty_processes_at_once_are_one_question_and_fifty_tokens() {
    let scene = Scene::waiting("always", "").await;
    // In a session of its own, whose leader is there to be seen.
    let script = "for i in $(seq 50); do \"$0\" token prod & done; wait";
    let mut session = Command::new("setsid");
    session
        .args(["--wait", "sh", "-ec", script])
        .arg(binaries::built("sfkey"))
        .env_clear()
        .envs(scene.stage.home.environment())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let session = session.spawn().expect("it runs");
    let pipe = scene.asked().await;
    scene
        .stage
        .agent
        .log()
        .has("one question for several account=prod callers=50")
        .await;
    scene.answer(0);
    let waited = tokio::task::spawn_blocking(|| session.wait_with_output()).await;
    let output = waited.expect("no panic").expect("it is a child");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let tokens = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        tokens.lines().filter(|token| !token.is_empty()).count(),
        50,
        "{tokens}"
    );
    ended(pipe).await;
    assert_eq!(scene.questions().len(), 1);
}

#[tokio::test]
async fn a_yes_is_remembered_for_the_program_in_its_session_and_for_nobody_else() {
    let scene = Scene::new("15m", "", "").await;
    let other = scene.stage.home.path("another-program");
    fs::copy(binaries::built("sfkey"), &other).expect("copied");
    // The session that this test runs in may have a leader that has gone or that cannot be seen from here, in a
    // container for one; in such a session nothing is remembered.
    let in_a_session = |script: &str| {
        let mut session = Command::new("setsid");
        session
            .args(["--wait", "sh", "-ec", script])
            .arg(binaries::built("sfkey"))
            .arg(&other)
            .env_clear()
            .envs(scene.stage.home.environment())
            .env("PATH", "/usr/bin:/bin");
        let ended = session.stdout(Stdio::null()).process_group(0).status();
        assert!(ended.expect("it runs").success(), "{script}");
        scene.questions().len()
    };
    let thrice = "for i in 1 2 3; do \"$0\" token prod; done";
    assert_eq!(
        in_a_session(&format!("{thrice}; \"$1\" token prod; {thrice}")),
        2,
        "two programs, one session"
    );
    assert_eq!(in_a_session(thrice), 3, "another session");
}

#[tokio::test]
async fn always_asks_every_time() {
    let scene = Scene::new("always", "", "").await;
    let calls = scene.calls().await;
    for _ in 0..3 {
        calls.token("prod").await.expect("allowed");
    }
    assert_eq!(scene.questions().len(), 3);
}

#[tokio::test]
async fn what_a_program_is_called_cannot_change_the_question() {
    let scene = Scene::new("always", "", "").await;
    let name = "x\n\nAllow the use of\u{1b}[2J\u{202e}<b>$(id)";
    let program: PathBuf = scene.stage.home.path(name);
    fs::copy(binaries::built("sfkey"), &program).expect("copied");
    let ran = Sfkey::program(program, &scene.stage.home, ["token", "prod"]).run();
    assert_eq!(ran.code, 0, "{}", ran.err());
    let [question] = &scene.questions()[..] else {
        panic!("not one question")
    };
    assert!(question.lines().count() <= 6, "{question}");
    let strange = |c: char| (c.is_control() && c != '\n') || "\u{202e}<>$".contains(c);
    assert!(!question.contains(strange), "{question:?}");
    assert_eq!(question.matches("Allow the use of").count(), 2, "{question}");
}

#[tokio::test]
async fn the_program_gets_its_display_no_descriptor_of_the_agent_and_the_limits_it_had() {
    let script = "{ env; ls -l /proc/self/fd; echo \"limit $(ulimit -n)\"; } >\"$(dirname \"$0\")/seen\"";
    let settings = "[askpass_environment]\nDISPLAY = \":7\"";
    let home = Home::new();
    let text = format!("#!/bin/sh\n{script}\n");
    let askpass = home.write("askpass", text);
    home::set_mode(&askpass, 0o700);
    home.settings(&format!(
        "askpass = {:?}\n{settings}\n[accounts.prod.policy]\nconfirm = \"always\"\n",
        askpass.display().to_string()
    ));
    let stage = StageSetup::default()
        .home(home)
        .launch(|launch| launch.soft_descriptors(300).variable("SFKEY_LOG", "info"))
        .ready()
        .await;
    stage.calls().await.token("prod").await.expect("allowed");
    let seen = fs::read_to_string(stage.home.path("seen")).expect("written");
    for told in ["SSH_ASKPASS_PROMPT=confirm\n", "DISPLAY=:7\n", "limit 300\n"] {
        assert!(seen.contains(told), "{told}:\n{seen}");
    }
    assert!(!seen.contains("SFKEY_"), "{seen}");
    assert!(!seen.contains("socket:"), "{seen}");
}

#[tokio::test]
async fn a_locked_agent_asks_nothing() {
    let scene = Scene::new("15m", "", "").await;
    scene.calls().await.token("prod").await.expect("allowed");
    let passphrase = scene.stage.home.write("passphrase", "correct horse battery");
    let line = |verb: &'static str| {
        [
            verb.to_owned(),
            "--passphrase-file".to_owned(),
            passphrase.display().to_string(),
        ]
    };
    assert_eq!(scene.stage.sfkey(line("lock")).run().code, 0);
    let refused = scene.calls().await.token("prod").await.expect_err("locked");
    assert_eq!(refusal(&refused).reason, Reason::Locked);
    assert_eq!(scene.stage.sfkey(line("unlock")).run().code, 0);
    scene.calls().await.token("prod").await.expect("allowed");
    assert_eq!(scene.questions().len(), 2, "a lock forgets what was allowed");
}
