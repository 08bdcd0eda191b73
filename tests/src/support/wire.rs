//! HTTP/2 by hand, for what no well-behaved client sends (RFC 9113).

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// The connection preface.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

const END_HEADERS: u8 = 0x4;
const END_STREAM: u8 = 0x1;

/// Paths of methods.
pub const GET_TOKEN: &str = "/sfkey.agent.v1.TokenService/GetToken";
/// See [`GET_TOKEN`].
pub const ADD_ACCOUNT: &str = "/sfkey.agent.v1.AgentService/AddAccount";
/// See [`GET_TOKEN`].
pub const GET_STATUS: &str = "/sfkey.agent.v1.AgentService/GetStatus";

/// See [`GET_TOKEN`]: a stream that ends with its connection.
pub const WATCH_HEALTH: &str = "/grpc.health.v1.Health/Watch";

/// Longer than the agent waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame.
///
/// # Panics
/// When the payload is longer than a frame can be.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short payload")
        .to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface and settings by which every answer waits for its second byte, or by which none waits.
#[must_use]
pub fn opening_with_window(bytes: u32) -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    const MOST: u32 = 0x7fff_ffff;
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &bytes.to_be_bytes()].concat();
    let of_connection = (MOST - u32::from(u16::MAX)).to_be_bytes();
    [
        PREFACE,
        &frame(SETTINGS, 0, 0, &setting),
        &frame(WINDOW_UPDATE, 0, 0, &of_connection),
    ]
    .concat()
}

/// The preface and empty settings, with which every connection begins.
#[must_use]
pub fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The headers of a GetToken request whose body is yet to come (HPACK without Huffman codes, RFC 7541).
#[must_use]
pub fn request_without_body(stream: u32) -> Vec<u8> {
    head_of(GET_TOKEN, stream)
}

/// The headers of a request of `method`.
#[must_use]
pub fn head_of(method: &str, stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &headers_of(method))
}

/// A whole request of `method` with an empty message.
#[must_use]
pub fn request(method: &str, stream: u32) -> Vec<u8> {
    [head_of(method, stream), frame(DATA, END_STREAM, stream, &[0; 5])].concat()
}

/// Part of a body, with more to follow.
#[must_use]
pub fn part(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, bytes)
}

/// How a message of so many bytes begins.
#[must_use]
pub fn message_head(bytes: u32) -> Vec<u8> {
    [&[0][..], &bytes.to_be_bytes()].concat()
}

/// Takes a request back.
#[must_use]
pub fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// A request whose headers say the same long thing over and over, in a byte each; the first one says it.
#[must_use]
pub fn bomb(stream: u32, first: bool) -> Vec<u8> {
    const INDEXED: u8 = 0x40;
    const NEWEST: u8 = 0xbe;
    // 3900 in HPACK's form: 127, and the rest in sevens of bits.
    const LENGTH: [u8; 3] = [0x7f, 0xbd, 0x1d];
    let mut headers = headers_of(GET_TOKEN);
    if first {
        headers.push(INDEXED);
        headers.extend(text("x-bomb"));
        headers.extend(LENGTH);
        headers.extend([b'x'; 3900]);
    }
    headers.extend([NEWEST; 10_000]);
    frame(HEADERS, END_HEADERS, stream, &headers)
}

/// The same headers, with more to follow.
#[must_use]
pub fn endless_headers(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0, stream, &headers_of(GET_TOKEN))
}

/// More headers, with yet more to follow.
#[must_use]
pub fn continuation(stream: u32, bytes: usize) -> Vec<u8> {
    let value = "x".repeat(100);
    let field = [&[0x00][..], &text("x-more"), &text(&value)].concat();
    frame(CONTINUATION, 0, stream, &field.repeat(bytes / field.len() + 1))
}

fn headers_of(method: &str) -> Vec<u8> {
    const POST: u8 = 0x83;
    const HTTP: u8 = 0x86;
    const PATH: u8 = 0x04;
    const AUTHORITY: u8 = 0x01;
    const CONTENT_TYPE: [u8; 2] = [0x0f, 0x10];
    const NEW_NAME: u8 = 0x00;
    [
        &[POST, HTTP, PATH][..],
        &text(method),
        &[AUTHORITY],
        &text("localhost"),
        &CONTENT_TYPE,
        &text("application/grpc"),
        &[NEW_NAME],
        &text("te"),
        &text("trailers"),
    ]
    .concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 127, "lengths above this take more than a byte");
    [&[length][..], text.as_bytes()].concat()
}

/// A connection without any HTTP/2 of its own.
///
/// # Panics
/// When nobody listens.
#[must_use]
pub fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the agent listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout can be set");
    stream
        .set_write_timeout(Some(PATIENCE))
        .expect("a timeout can be set");
    stream
}

/// Sends `bytes` as far as the other end takes them; a connection that is closed meanwhile is no failure.
#[expect(clippy::must_use_candidate, reason = "often it does not matter")]
pub fn send(mut stream: &UnixStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Reads to the end of the connection, orderly or by a reset, and returns what came.
///
/// # Panics
/// When it stays open.
#[must_use]
pub fn read_to_close(mut stream: &UnixStream) -> Vec<u8> {
    let mut came = Vec::new();
    match stream.read_to_end(&mut came) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the agent does not close the connection: {error}"),
    }
    came
}

/// Waits for the first bytes from the other end.
///
/// # Panics
/// When none come.
#[must_use]
pub fn read_some(mut stream: &UnixStream) -> Vec<u8> {
    let mut piece = [0; 4096];
    let length = stream.read(&mut piece).expect("the agent answers");
    piece[..length].to_vec()
}
