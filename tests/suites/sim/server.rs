//! Connections: protocols, certificates, and the end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use sfkey_tests::sim::{Config, ServerCertificate, Simulator, StartError};

use crate::bench::{Bench, GRANT_TYPE, client, key};

#[tokio::test]
async fn http_1_1_and_http_2_are_both_spoken() {
    let bench = Bench::new();
    bench.token().await;
    let old = client(&bench.sim).http1_only().build().expect("a client");
    let bench = Bench { client: old, ..bench };
    bench.token().await;
    let versions: Vec<String> = bench
        .sim
        .exchanges()
        .into_iter()
        .map(|x| x.request.version)
        .collect();
    assert_eq!(versions, ["HTTP/2.0", "HTTP/1.1"]);
}

#[tokio::test]
async fn plain_http_is_served_on_loopback() {
    let bench = Bench::with(Config {
        tls: false,
        ..Config::with_key(key())
    });
    assert!(bench.sim.url().starts_with("http://localhost:"));
    assert_eq!(bench.token().await.len(), 112);
}

#[test]
fn plain_http_is_refused_elsewhere() {
    let config = Config {
        tls: false,
        listen: ([0, 0, 0, 0], 0).into(),
        ..Config::one_of_each()
    };
    assert!(matches!(
        Simulator::start_blocking(config),
        Err(StartError::Invalid(_))
    ));
}

#[test]
fn a_chunked_request_is_read_as_sf_sends_it() {
    let bench = Bench::with(Config {
        tls: false,
        ..Config::with_key(key())
    });
    let assertion = bench.assertion(&bench.claims(&bench.sim.url()));
    let body = format!(
        "grant_type={}&assertion={assertion}",
        GRANT_TYPE.replace(':', "%3A")
    );
    let (start, end) = body.split_at(100);
    let request = format!(
        "POST /services/oauth2/token HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n",
        bench.sim.port(),
        start.len(),
        end.len(),
    );
    let mut stream = TcpStream::connect(("127.0.0.1", bench.sim.port())).expect("a connection");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_know_the_ca_gets_nowhere() {
    let bench = Bench::new();
    let stranger = Bench::new();
    let client = client(&stranger.sim).build().expect("a client");
    assert!(client.get(bench.sim.url()).send().await.is_err());
}

#[tokio::test]
async fn a_wrong_server_certificate_is_wrong_as_it_is_told() {
    for kind in [
        ServerCertificate::Expired,
        ServerCertificate::WrongHost,
        ServerCertificate::UnknownIssuer,
    ] {
        let bench = Bench::with(Config {
            server_certificate: kind,
            ..Config::with_key(key())
        });
        assert!(
            bench.client.get(bench.sim.url()).send().await.is_err(),
            "{kind:?}"
        );
        assert_eq!(bench.sim.counters().requests, 0);
    }
}

#[test]
fn a_dropped_simulator_listens_no_more() {
    let sim = Simulator::start_blocking(Config::one_of_each()).expect("it starts");
    let address = ("127.0.0.1", sim.port());
    let mut open = TcpStream::connect(address).expect("it listens");
    drop(sim);
    assert!(TcpStream::connect(address).is_err());
    assert!(
        matches!(open.read(&mut [0]), Ok(0) | Err(_)),
        "open connections end as well"
    );
}

#[test]
fn an_event_can_be_awaited_without_a_runtime() {
    let sim = Simulator::start_blocking(Config::one_of_each()).expect("it starts");
    let _open = TcpStream::connect(("127.0.0.1", sim.port())).expect("it listens");
    assert!(
        sim.wait_until_blocking(|counters| counters.connections == 1)
            .is_ok()
    );
}

#[test]
fn a_certificate_over_four_kilobytes_is_refused() {
    let mut config = Config::with_key(key());
    let long = format!("{}{}", key().certificate_pem, "\n".repeat(4096));
    config.apps[0].certificate = Some(long);
    let error = Simulator::start_blocking(config).expect_err("it is too long");
    assert!(error.to_string().contains("at most 4096"), "{error}");
}
