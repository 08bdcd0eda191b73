//! The attacks, one function each.

use std::{io::Read as _, net::Shutdown, os::unix::net::UnixStream, path::Path};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sfkey_tests::support::wire;

/// Descriptors that the process keeps for itself.
const KEPT: u64 = 50;

/// As many connections as are meant by many, or as this process may open.
pub(crate) fn crowd() -> usize {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Nofile, raised).expect("a limit may be raised to the hard one");
    let affordable = usize::try_from(most.saturating_sub(KEPT)).unwrap_or(usize::MAX);
    affordable.min(10_000)
}

/// `count` connections that send the same and are left.
pub(crate) fn leave(agent: &Path, count: usize, bytes: &[u8]) -> Vec<UnixStream> {
    let count = count.min(crowd());
    let connect = |_| {
        let stream = wire::connect(agent);
        wire::send(&stream, bytes);
        stream
    };
    (0..count).map(connect).collect()
}

/// The first `count` streams of a connection.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

fn requests(count: u32, request: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    streams(count).flat_map(request).collect()
}

pub(crate) fn openings(agent: &Path) -> Vec<UnixStream> {
    leave(agent, crowd(), &wire::opening())
}

pub(crate) fn heads(agent: &Path) -> Vec<UnixStream> {
    let heads = [wire::opening(), requests(64, wire::request_without_body)].concat();
    leave(agent, 600, &heads)
}

pub(crate) fn bodies(agent: &Path) -> Vec<UnixStream> {
    let bodies = requests(60, |stream| {
        let begun = [wire::message_head(16_000), vec![0; 1000]].concat();
        [
            wire::head_of(wire::ADD_ACCOUNT, stream),
            wire::part(stream, &begun),
        ]
        .concat()
    });
    leave(agent, 600, &[wire::opening(), bodies].concat())
}

pub(crate) fn huge_message(agent: &Path) -> Vec<UnixStream> {
    const MEGABYTES: u32 = 100;
    let stream = wire::connect(agent);
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
}

pub(crate) fn header_bomb(agent: &Path) -> Vec<UnixStream> {
    let stream = wire::connect(agent);
    wire::send(&stream, &wire::opening());
    let bombs = streams(1000).map(|number| wire::bomb(number, number == 1));
    let _sent = bombs.take_while(|bomb| wire::send(&stream, bomb)).count();
    vec![stream]
}

pub(crate) fn endless_headers(agent: &Path) -> Vec<UnixStream> {
    let stream = wire::connect(agent);
    wire::send(&stream, &[wire::opening(), wire::endless_headers(1)].concat());
    let more = wire::continuation(1, 16_000);
    let _sent = (0..5000).take_while(|_| wire::send(&stream, &more)).count();
    vec![stream]
}

pub(crate) fn resets(agent: &Path) -> Vec<UnixStream> {
    let flood = |_| {
        let stream = wire::connect(agent);
        wire::send(&stream, &wire::opening());
        let pair = |number| [wire::request_without_body(number), wire::reset(number)].concat();
        let _sent = streams(20_000)
            .take_while(|number| wire::send(&stream, &pair(*number)))
            .count();
        stream
    };
    (0..20).map(flood).collect()
}

pub(crate) fn drips(agent: &Path) -> Vec<UnixStream> {
    let request = [wire::opening(), wire::request(wire::GET_TOKEN, 1)].concat();
    let clients = leave(agent, 400, &wire::PREFACE[..20]);
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
    clients.into_iter().chain(leave(agent, 200, &large)).collect()
}

pub(crate) fn half_closed(agent: &Path) -> Vec<UnixStream> {
    let half = [wire::opening(), wire::request_without_body(1)].concat();
    let whole = [wire::opening(), wire::request(wire::GET_STATUS, 1)].concat();
    let sent = [wire::opening(), half, whole];
    let left: Vec<_> = sent.iter().flat_map(|bytes| leave(agent, 300, bytes)).collect();
    for stream in &left {
        // Those that the agent has closed cannot be.
        stream.shutdown(Shutdown::Write).ok();
    }
    left
}

/// 500 clients that let `window` bytes of each answer come, and ask for so many.
pub(crate) fn untaken(agent: &Path, window: u32, answers: u32) -> Vec<UnixStream> {
    let clients = leave(agent, 500, &wire::opening_with_window(window));
    for stream in &clients {
        // Sent as far as the agent reads.
        stream.set_nonblocking(true).expect("possible");
        let asked = |number| wire::request(wire::GET_STATUS, number);
        let _sent = streams(answers)
            .take_while(|number| wire::send(stream, &asked(*number)))
            .count();
    }
    clients
}

/// Asks sixty times on each connection, and again when a client between them was answered, until none takes more.
pub(crate) fn stalls(agent: &Path) -> Vec<UnixStream> {
    const AT_ONCE: u32 = 60;
    let mut clients = leave(agent, 16, &wire::opening_with_window(0x7fff_ffff));
    for stream in &clients {
        stream.set_nonblocking(true).expect("possible");
    }
    let between = leave(agent, 1, &wire::opening()).remove(0);
    let mut asking: Vec<usize> = (0..clients.len()).collect();
    for round in 0.. {
        let numbers = (0..AT_ONCE).map(|number| 2 * (round * AT_ONCE + number) + 1);
        let asked: Vec<_> = numbers
            .flat_map(|number| wire::request(wire::GET_STATUS, number))
            .collect();
        asking.retain(|client| {
            clients
                .get(*client)
                .is_some_and(|stream| wire::send(stream, &asked))
        });
        wire::send(&between, &wire::request(wire::GET_STATUS, 2 * round + 1));
        if asking.is_empty() || wire::read_some(&between).is_empty() {
            break;
        }
    }
    clients.push(between);
    clients
}

pub(crate) fn watches(agent: &Path) -> Vec<UnixStream> {
    let watch = [wire::opening(), wire::request(wire::WATCH_HEALTH, 1)].concat();
    leave(agent, 600, &watch)
}

/// Asks, and takes what comes, until the agent has enough of it. `stands` is called when the first answers have come.
pub(crate) fn greed(agent: &Path, stands: impl FnOnce()) -> ! {
    const AT_ONCE: u32 = 30;
    let mut stands = Some(stands);
    let connect = || leave(agent, 1, &wire::opening_with_window(0x7fff_ffff)).remove(0);
    let mut clients: Vec<_> = (0..5).map(|_| (connect(), 0)).collect();
    let mut answers = vec![0; 64 * 1024];
    loop {
        for (stream, asked) in &mut clients {
            let numbers = (*asked..*asked + AT_ONCE).map(|number| 2 * number + 1);
            let sent: Vec<_> = numbers
                .flat_map(|number| wire::request(wire::GET_STATUS, number))
                .collect();
            *asked += AT_ONCE;
            let is_answered =
                wire::send(stream, &sent) && stream.read(&mut answers).is_ok_and(|length| length > 0);
            if !is_answered {
                (*stream, *asked) = (connect(), 0);
            }
        }
        if let Some(stands) = stands.take() {
            stands();
        }
    }
}
