//! Renewal ahead of time, for those who use or watch an account.

use super::*;
use crate::{
    account::life::{Ask, Life},
    clock::Now,
    token::Validity,
};

/// Lets everything happen that is due now.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_used_is_renewed_before_anybody_has_to_wait() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(900)));
    stage.get(60, false).await;
    pass(500).await;
    assert_eq!(stage.get(60, false).await.0, "one");
    stage.script.then(grant("two", Some(900)));
    tokio::time::sleep(Duration::from_secs(339)).await;
    assert_eq!(stage.script.asked(), 2);
    assert_eq!(stage.get(60, false).await, ("two".to_owned(), no_warning()));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_not_used_asks_nothing_and_wakes_for_nothing() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(900)));
    stage.get(60, false).await;
    pass(400).await;
    stage.get(60, false).await;
    // Paused time runs to the next timer as soon as nothing else is to be done: a day without one.
    let before = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(before.elapsed().as_secs(), 86_400);
    assert_eq!(stage.script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_gets_each_new_token_for_a_whole_day() {
    let stage = Stage::new(Terms::default());
    for number in 0..200 {
        stage.script.then(grant(&format!("token{number}"), Some(900)));
    }
    let mut watch = stage.account.watch(name());
    let mut seen = vec![
        watch
            .token(Need::new(None, false))
            .await
            .expect("a token")
            .access_token
            .clone(),
    ];
    let end = tokio::time::Instant::now() + Duration::from_secs(86_400);
    while let Ok(true) = tokio::time::timeout_at(end, watch.changed()).await {
        let token = watch
            .token(Need::new(Some(0), false))
            .await
            .expect("a token")
            .access_token
            .clone();
        if seen.last() != Some(&token) {
            seen.push(token);
        }
    }
    assert_eq!(seen.len(), usize::try_from(stage.script.asked()).expect("few"));
    assert!((103..=107).contains(&seen.len()), "{}", seen.len());
    drop(watch);
    let asked = stage.script.asked();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert!(stage.script.asked() <= asked + 1, "nobody watches any more");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_is_told_when_the_account_goes() {
    let Stage {
        account,
        script,
        locked: _locked,
        ..
    } = Stage::new(Terms::default());
    script.then(grant("one", Some(900)));
    let mut watch = account.watch(name());
    watch.token(Need::new(None, false)).await.expect("a token");
    while watch.changes.has_changed().expect("alive") {
        assert!(watch.changed().await);
    }
    drop(account);
    settle().await;
    assert!(!watch.changed().await);
    assert!(matches!(
        watch.token(Need::new(None, false)).await,
        Err(Failure::NotLoaded(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_lives_through_an_outage() {
    let stage = Stage::new(Terms::default());
    stage.script.then(grant("one", Some(900)));
    let mut watch = stage.account.watch(name());
    watch.token(Need::new(None, false)).await.expect("a token");
    for _ in 0..8 {
        stage.script.then(unreachable_host());
    }
    stage.script.then(grant("two", Some(900)));
    loop {
        assert!(watch.changed().await);
        if let Ok(token) = watch.token(Need::new(Some(0), false)).await
            && token.access_token == "two"
        {
            break;
        }
    }
    assert_eq!(stage.script.asked(), 10);
}

#[test]
fn a_token_that_a_jump_of_wall_time_ended_is_renewed_for_its_watchers_at_once() {
    let (mut life, learned) = (Life::default(), now(0, 0));
    let Ok(one) = grant("one", Some(7200)) else {
        panic!("granted")
    };
    let validity = Validity::of(&one, None, None, learned, START);
    life.granted(crate::token::hash("one"), validity, None, learned, 0.5);
    assert_eq!(life.renewal(now(60, 60), true), None);
    // The machine was paused from outside: boot time stood still.
    let resumed = now(60, 8000);
    assert!(!life.is_live(resumed));
    assert_eq!(life.renewal(resumed, true), Some(Ask::Mint));
    let nearly = now(60, 7100);
    assert_eq!(life.renewal(nearly, true), Some(Ask::ExtendOrMint));
}

fn now(boot: u64, wall: i64) -> Now {
    Now {
        boot: Duration::from_secs(boot),
        unix: START + wall,
    }
}
