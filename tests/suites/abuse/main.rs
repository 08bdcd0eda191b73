//! Clients that do what they can to an agent. Whatever they do, it stays small, serves the others, and is afterwards
//! what it was before.
//!
//! Every test prints its figures (`--nocapture`). How long an honest client waits depends on the build and the machine,
//! so it is judged by `make siege` alone; that it is served, and loses no connection for the attackers', is here.

mod siege;
mod soak;

use siege::Siege;

#[tokio::test]
async fn ten_thousand_connections_that_say_nothing() {
    Siege::of(&["silence"]).await;
}

#[tokio::test]
async fn ten_thousand_connections_that_are_opened_and_left() {
    Siege::of(&["openings"]).await;
}

#[tokio::test]
async fn half_sent_requests_on_every_stream_of_many_connections() {
    Siege::of(&["heads", "bodies"]).await;
}

#[tokio::test]
async fn messages_of_a_hundred_megabytes() {
    Siege::of(&["huge-message"]).await;
}

#[tokio::test]
async fn headers_that_unfold_and_headers_without_end() {
    Siege::of(&["header-bomb", "endless-headers"]).await;
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once() {
    Siege::of(&["resets"]).await;
}

#[tokio::test]
async fn clients_that_send_a_byte_now_and_then() {
    Siege::of(&["drips"]).await;
}

#[tokio::test]
async fn connections_that_are_half_closed() {
    Siege::of(&["half-closed"]).await;
}

#[tokio::test]
async fn answers_that_nobody_takes() {
    Siege::of(&["tiny-windows", "untaken"]).await;
}

#[tokio::test]
async fn answers_that_nobody_takes_on_a_few_connections() {
    Siege::of(&["stalls"]).await;
}

#[tokio::test]
async fn streams_without_end_on_every_connection_that_there_can_be() {
    Siege::of(&["watches"]).await;
}

#[tokio::test]
async fn a_hundred_processes_that_ask_on_and_on() {
    Siege::of_processes("greed", 100).await;
}
