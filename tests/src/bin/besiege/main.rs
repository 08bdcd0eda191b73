//! `besiege`: a process that does to an agent what no well-behaved client does, and says so when it has.

mod attacks;

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
};

use clap::{Parser, ValueEnum};

/// Attacks an agent of one's own.
#[derive(Parser)]
#[command(name = "besiege")]
struct Cli {
    /// What is done.
    attack: Attack,

    /// The agent's socket.
    socket: PathBuf,
}

/// What can be done. Each leaves its connections open, until standard input ends.
#[derive(Clone, Copy, ValueEnum)]
enum Attack {
    /// 10,000 connections that say nothing.
    Silence,
    /// 10,000 connections that are opened and left.
    Openings,
    /// 600 connections with 64 requests each of which the headers came.
    Heads,
    /// 600 connections with 60 requests each of which a part of the body came.
    Bodies,
    /// A message of 100 MB.
    HugeMessage,
    /// Headers that say the same long thing over and over, in a byte each.
    HeaderBomb,
    /// Headers without an end.
    EndlessHeaders,
    /// Requests that are taken back at once.
    Resets,
    /// 400 requests that come byte by byte, and 200 that lack the end of a large frame.
    Drips,
    /// 900 connections that are closed one way.
    HalfClosed,
    /// 500 connections that take a byte of each answer.
    TinyWindows,
    /// 500 connections that take no answer, and could.
    Untaken,
    /// Sixteen connections that take no answer, and ask for no more than the agent lets them at a time.
    Stalls,
    /// 600 connections with a stream each that never ends.
    Watches,
    /// Five connections that ask on and on, and take every answer.
    Greed,
}

impl Attack {
    fn carry_out(self, agent: &Path) -> Vec<UnixStream> {
        match self {
            Self::Silence => attacks::leave(agent, attacks::crowd(), &[]),
            Self::Openings => attacks::openings(agent),
            Self::Heads => attacks::heads(agent),
            Self::Bodies => attacks::bodies(agent),
            Self::HugeMessage => attacks::huge_message(agent),
            Self::HeaderBomb => attacks::header_bomb(agent),
            Self::EndlessHeaders => attacks::endless_headers(agent),
            Self::Resets => attacks::resets(agent),
            Self::Drips => attacks::drips(agent),
            Self::HalfClosed => attacks::half_closed(agent),
            Self::TinyWindows => attacks::untaken(agent, 1, 60),
            Self::Untaken => attacks::untaken(agent, 0x7fff_ffff, 1800),
            Self::Stalls => attacks::stalls(agent),
            Self::Watches => attacks::watches(agent),
            Self::Greed => attacks::greed(agent, say_that_it_stands),
        }
    }
}

fn main() {
    let Cli { attack, socket } = Cli::parse();
    // Whatever it waits for in the middle of an attack, it ends with whoever started it.
    thread::spawn(move || {
        let _connections = attack.carry_out(&socket);
        say_that_it_stands();
        loop {
            thread::park();
        }
    });
    let mut ignored = Vec::new();
    io::stdin().read_to_end(&mut ignored).ok();
}

fn say_that_it_stands() {
    // Nobody may listen any more.
    writeln!(io::stdout(), "stands").ok();
}
