//! HTTP/2 by hand, for what no well-behaved client sends (RFC 9113).

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// The connection preface.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;

const END_HEADERS: u8 = 0x4;

/// Longer than the agent waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short payload")
        .to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface and empty settings, with which every connection begins.
pub(crate) fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The headers of a GetToken request whose body is yet to come (HPACK without Huffman codes, RFC 7541).
pub(crate) fn request_without_body(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &get_token_headers())
}

/// The same headers, with more to follow.
pub(crate) fn endless_headers(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0, stream, &get_token_headers())
}

/// More headers, with yet more to follow.
pub(crate) fn continuation(stream: u32, bytes: usize) -> Vec<u8> {
    let value = "x".repeat(100);
    let field = [&[0x00][..], &text("x-more"), &text(&value)].concat();
    frame(CONTINUATION, 0, stream, &field.repeat(bytes / field.len() + 1))
}

fn get_token_headers() -> Vec<u8> {
    const POST: u8 = 0x83;
    const HTTP: u8 = 0x86;
    const PATH: u8 = 0x04;
    const AUTHORITY: u8 = 0x01;
    const CONTENT_TYPE: [u8; 2] = [0x0f, 0x10];
    const NEW_NAME: u8 = 0x00;
    [
        &[POST, HTTP, PATH][..],
        &text("/sfkey.agent.v1.TokenService/GetToken"),
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
pub(crate) fn connect(path: &Path) -> UnixStream {
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
pub(crate) fn send(mut stream: &UnixStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Reads to the end of the connection, orderly or by a reset, and returns what came.
pub(crate) fn read_to_close(mut stream: &UnixStream) -> Vec<u8> {
    let mut came = Vec::new();
    match stream.read_to_end(&mut came) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the agent does not close the connection: {error}"),
    }
    came
}

/// Waits for the first bytes from the other end.
pub(crate) fn read_some(mut stream: &UnixStream) -> Vec<u8> {
    let mut piece = [0; 4096];
    let length = stream.read(&mut piece).expect("the agent answers");
    piece[..length].to_vec()
}
