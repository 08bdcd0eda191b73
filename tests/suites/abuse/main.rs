//! Clients that do what they can to an agent. Whatever they do, it stays small, serves the others, and is afterwards
//! what it was before.
//!
//! Every test prints its figures (`--nocapture`). How long an honest client waits depends on the machine, so it is
//! printed and not judged; that it is served while the attack stands is.

mod siege;
mod soak;

use std::{net::Shutdown, os::unix::net::UnixStream, path::Path};

use sfkey_tests::support::wire;

use siege::{Siege, crowd};

/// The first `count` streams of a connection.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

fn requests(count: u32, request: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    streams(count).flat_map(request).collect()
}

/// `count` connections that send the same and are left.
fn leave(path: &Path, count: usize, bytes: &[u8]) -> Vec<UnixStream> {
    let connect = |_| {
        let stream = wire::connect(path);
        wire::send(&stream, bytes);
        stream
    };
    (0..count).map(connect).collect()
}

#[tokio::test]
async fn ten_thousand_connections_that_say_nothing() {
    let mut siege = Siege::lay("10,000 silent connections").await;
    let most = crowd();
    siege.during(move |path| leave(path, most, &[])).await;
    siege.lift().await;
}

#[tokio::test]
async fn ten_thousand_connections_that_are_opened_and_left() {
    let mut siege = Siege::lay("10,000 opened connections").await;
    let most = crowd();
    siege
        .during(move |path| leave(path, most, &wire::opening()))
        .await;
    siege.lift().await;
}

#[tokio::test]
async fn half_sent_requests_on_every_stream_of_many_connections() {
    let mut siege = Siege::lay("600 connections with 64 half-sent requests").await;
    let heads = [wire::opening(), requests(64, wire::request_without_body)].concat();
    siege.during(move |path| leave(path, 600, &heads)).await;
    let bodies = requests(60, |stream| {
        let begun = [wire::message_head(16_000), vec![0; 1000]].concat();
        [
            wire::head_of(wire::ADD_ACCOUNT, stream),
            wire::part(stream, &begun),
        ]
        .concat()
    });
    let bodies = [wire::opening(), bodies].concat();
    siege.during(move |path| leave(path, 600, &bodies)).await;
    siege.lift().await;
}

#[tokio::test]
async fn messages_of_a_hundred_megabytes() {
    const MEGABYTES: u32 = 100;
    let mut siege = Siege::lay("messages of 100 MB").await;
    let flood = |path: &Path| {
        let stream = wire::connect(path);
        let begun = wire::part(1, &wire::message_head(MEGABYTES << 20));
        wire::send(
            &stream,
            &[wire::opening(), wire::head_of(wire::ADD_ACCOUNT, 1), begun].concat(),
        );
        let more = wire::part(1, &[0; 16_384]);
        // Whether the agent reads on or closes: it keeps none of it.
        let _sent = (0..MEGABYTES << 6)
            .take_while(|_| wire::send(&stream, &more))
            .count();
        vec![stream]
    };
    siege.during(flood).await;
    siege.lift().await;
}

#[tokio::test]
async fn headers_that_unfold_and_headers_without_end() {
    let mut siege = Siege::lay("header bombs").await;
    let unfold = |path: &Path| {
        let stream = wire::connect(path);
        wire::send(&stream, &wire::opening());
        let bombs = streams(1000).map(|number| wire::bomb(number, number == 1));
        let _sent = bombs.take_while(|bomb| wire::send(&stream, bomb)).count();
        vec![stream]
    };
    siege.during(unfold).await;
    let endless = |path: &Path| {
        let stream = wire::connect(path);
        wire::send(&stream, &[wire::opening(), wire::endless_headers(1)].concat());
        let more = wire::continuation(1, 16_000);
        let _sent = (0..5000).take_while(|_| wire::send(&stream, &more)).count();
        vec![stream]
    };
    siege.during(endless).await;
    siege.lift().await;
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once() {
    let mut siege = Siege::lay("rapid resets").await;
    let reset = |path: &Path| {
        let flood = |_| {
            let stream = wire::connect(path);
            wire::send(&stream, &wire::opening());
            let pair = |number| [wire::request_without_body(number), wire::reset(number)].concat();
            let _sent = streams(20_000)
                .take_while(|number| wire::send(&stream, &pair(*number)))
                .count();
            stream
        };
        (0..20).map(flood).collect()
    };
    siege.during(reset).await;
    siege.lift().await;
}

#[tokio::test]
async fn clients_that_send_a_byte_now_and_then() {
    let mut siege = Siege::lay("600 clients that send byte by byte").await;
    let drip = |path: &Path| {
        let request = [wire::opening(), wire::request(wire::GET_TOKEN, 1)].concat();
        let clients = leave(path, 400, &wire::PREFACE[..20]);
        for byte in &request[20..request.len() - 1] {
            for stream in &clients {
                wire::send(stream, &[*byte]);
            }
        }
        // And most of the largest frame.
        let frame = wire::part(1, &[0; 16_384]);
        let large = [
            wire::opening(),
            wire::request_without_body(1),
            frame[..16_000].to_vec(),
        ]
        .concat();
        clients.into_iter().chain(leave(path, 200, &large)).collect()
    };
    siege.during(drip).await;
    siege.lift().await;
}

#[tokio::test]
async fn connections_that_are_half_closed() {
    let mut siege = Siege::lay("900 half-closed connections").await;
    let half_close = |path: &Path| {
        let half = [wire::opening(), wire::request_without_body(1)].concat();
        let whole = [wire::opening(), wire::request(wire::GET_STATUS, 1)].concat();
        let sent = [wire::opening(), half, whole];
        let left: Vec<_> = sent.iter().flat_map(|bytes| leave(path, 300, bytes)).collect();
        for stream in &left {
            // Those that the agent has closed cannot be.
            stream.shutdown(Shutdown::Write).ok();
        }
        left
    };
    siege.during(half_close).await;
    siege.lift().await;
}

#[tokio::test]
async fn answers_that_nobody_takes() {
    let mut siege = Siege::lay("500 clients that take no answers").await;
    for window in [1, 0x7fff_ffff] {
        let ask = move |path: &Path| {
            let clients = leave(path, 500, &wire::opening_with_window(window));
            let sets = if window == 1 { 1 } else { 30 };
            for stream in &clients {
                // Sent as far as the agent reads.
                stream.set_nonblocking(true).expect("possible");
                let asked = |number| wire::request(wire::GET_STATUS, number);
                let sent = streams(60 * sets).take_while(|number| wire::send(stream, &asked(*number)));
                let _sent = sent.count();
            }
            clients
        };
        siege.during(ask).await;
    }
    siege.lift().await;
}
