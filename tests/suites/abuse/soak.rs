//! A day's work in a minute: nothing of it stays.

use sfkey_proto::v1::WatchTokenRequest;
use sfkey_tests::support::{Calls, Stage, StageSetup, stage::ACCOUNT, stopwatch::eventually};

use crate::siege::{MARGIN, Size, size};

const HOURS: usize = 24;

/// What a machine with a busy developer and a few jobs asks in an hour, over a connection each, as sfkey does.
const CALLS_AN_HOUR: usize = 150;

/// One hour: tokens, failures, streams, a list, an account that comes and goes with a login of its own; now and then
/// nobody is there.
async fn work(stage: &Stage, hour: usize) {
    let connect = async || {
        Calls::queue_to(&stage.home.socket())
            .await
            .expect("the agent listens")
    };
    let name = format!("of-hour-{hour}");
    connect()
        .await
        .add(&stage.spec_of_new_user(&name))
        .await
        .expect("loaded");
    for call in 0..CALLS_AN_HOUR {
        let calls = connect().await;
        match call % 10 {
            0 => {
                let account = ACCOUNT.to_owned();
                let stream = calls.tokens().watch_token(WatchTokenRequest { account }).await;
                let first = stream.expect("a stream").into_inner().message().await;
                assert!(first.expect("no failure").is_some());
            }
            1 => drop(calls.token("nobody").await.expect_err("not loaded")),
            2 => drop(calls.list().await.expect("a list")),
            3 => drop(calls.token(&name).await.expect("a token")),
            _ => drop(calls.token(ACCOUNT).await.expect("a token")),
        }
    }
    connect().await.remove(&name).await.expect("removed");
    if hour.is_multiple_of(4) {
        connect().await.lock("while away").await.expect("locked");
        connect().await.unlock("while away").await.expect("unlocked");
    }
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figures are the point")]
async fn a_day_of_use_leaves_memory_and_descriptors_as_they_were_after_two_hours() {
    let home = sfkey_tests::support::Home::new();
    let audit = home.path("audit.log");
    let arguments = ["--audit-log".into(), audit.into_os_string()];
    let stage = StageSetup::default()
        .home(home)
        .arguments(arguments)
        .ready()
        .await;
    let calls = Calls::queue_to(&stage.home.socket())
        .await
        .expect("the agent listens");
    let mut sizes = Vec::new();
    for hour in 0..HOURS {
        work(&stage, hour).await;
        eventually(async || (calls.status().await.ok()?.connections == 1).then_some(())).await;
        sizes.push(size(&stage));
    }
    let (early, late): (Size, Size) = (sizes[1], sizes[HOURS - 1]);
    println!("after 2 hours {early:?}, after 24 {late:?}");
    assert!(late.descriptors <= early.descriptors, "{sizes:?}");
    assert!(late.resident <= early.resident + MARGIN / 4, "{sizes:?}");
}
