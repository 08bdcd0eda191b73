//! What is bounded at the edge, and why at that number.

use std::time::Duration;

/// Connections of the main socket. Each takes [`CONNECTION_BYTES`], and when all are taken, one that is of no use
/// makes room: a thousand parallel builds need no thousand at a time.
pub const CONNECTIONS: usize = 512;

/// As many as `agent.toml` may allow: two descriptors each, of 8192 in the systemd unit, would not be enough for more.
pub const MAX_CONNECTIONS: usize = 4_000;

/// Requests in work at once that came over the main socket, once they are read: each may wait for an exchange.
pub const REQUESTS: usize = 1_024;

/// As many as `agent.toml` may allow. They take [`STREAM_BYTES`] each.
pub const MAX_REQUESTS: usize = 16_384;

/// Connections of the restricted socket, which are other programs' and other users'.
pub const TOKEN_CONNECTIONS: usize = 128;

/// As many as `agent.toml` may allow.
pub const MAX_TOKEN_CONNECTIONS: usize = 1_024;

/// Connections of one user at the restricted socket: nobody fills it alone.
pub const TOKEN_CONNECTIONS_PER_UID: usize = 32;

/// Requests in work that came over the restricted socket; far fewer than all, so that the own user is served.
pub const TOKEN_REQUESTS: usize = 256;

/// Requests in work at once on one connection: a program that watches as many accounts is served over one.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 64;

/// A process with no more connections than this, or requests in work, has few, and is not held to what others have.
pub const FEW: usize = 16;

/// Of the places for requests in work one in so many is kept for processes that have [`FEW`] of them. One process may
/// well have a thousand callers at once.
pub const KEPT_FOR_FEW: usize = 64;

/// What a connection takes, in bytes, measured: buffers of HTTP/2, tables of header compression, its task.
pub const CONNECTION_BYTES: usize = 32 * 1024;

/// What a request takes besides its bytes, in bytes, measured: state of its stream, its task, the answer.
pub const STREAM_BYTES: usize = 12 * 1024;

/// What a connection keeps for each of the most requests that it ever had at once, in bytes: slots of HTTP/2.
pub const SLOT_BYTES: usize = 1024;

/// What requests that have not come as a whole and answers that are not taken may hold beside those in work, in
/// bytes: about 170 of them. Beyond that the connection that has the most of them is closed.
pub const HALF_SENT_BYTES: usize = 2 * 1024 * 1024;

/// What all requests of the restricted socket together may hold, in bytes.
pub const TOKEN_LOAD_BYTES: usize = 4 * 1024 * 1024;

/// Connections that may at a time not take what is sent to them. Up to [`MAX_STREAMS_PER_CONNECTION`] answers wait
/// for each; an honest client is slow for a moment at most.
pub const MAX_STALLED: usize = 16;

/// Memory is given back to the system when half of what was held is free again, and that was more than this.
pub const GIVE_BACK_BYTES: usize = 1024 * 1024;

/// A connection without a request for this long is closed; clients open a new one by themselves when they need it.
pub const IDLE_TIME: Duration = Duration::from_secs(10 * 60);

/// Callers that wait for the exchange of one account.
pub const MAX_WAITERS_PER_ACCOUNT: usize = 4_096;

/// Accounts in all: far more orgs than one person has, and a list of them fits one reply.
pub const MAX_ACCOUNTS: usize = 1_000;

/// All headers of a request together, in bytes. gRPC clients send about 300.
pub const MAX_HEADER_BYTES: u32 = 8 * 1024;

/// What a connection may send for each of its requests, and for each minute, in bytes: the largest request and its
/// headers have less than half of it. What comes beyond is part of no request, and the connection is closed.
pub const BYTES_PER_REQUEST: u64 = 64 * 1024;

/// A connection that has not sent its HTTP/2 preface by then is closed, so that silent clients cannot
/// fill the table.
pub const PREFACE_TIME: Duration = Duration::from_secs(5);

/// A connection that has said nothing for so long makes room before all others. Clients speak as they connect.
pub const SILENT_TIME: Duration = Duration::from_millis(500);

/// What is read of a connection before it is the others' turn, in bytes: some requests. So however much one client
/// sends, the next waits for little of it.
pub const TURN_BYTES: usize = 512;

/// Connections that are read from in turn: up to 34 requests fit [`TURN_BYTES`], and they are not weighed before they
/// have begun.
pub const TURNS: usize = 8;

/// Turns that a process has ahead of those that ask without end, if it did not ask lately: a client needs about three
/// to connect and be answered.
pub const TURNS_AHEAD: u64 = 8;

/// A request that is not answered by then is given up; no setting allows more. It is longer than [`JOB_TIME`], so that
/// whoever waits for Salesforce is told what Salesforce did.
pub const REQUEST_TIME: Duration = Duration::from_secs(60);

/// What is asked of Salesforce for one account is given up after this time, with all its parts: a look at the session,
/// an exchange, a second one by the right clock, a look at the new session.
pub const JOB_TIME: Duration = Duration::from_secs(50);

/// Connections without traffic are pinged after this time, and closed if they do not answer.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// How long a ping may stay unanswered.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(20);

/// At most one line in this time tells the log of refused connections: whoever is refused can come as often as he
/// likes.
pub const REFUSAL_LOG_PAUSE: Duration = Duration::from_secs(1);

/// First and longest pause after accept failed, for example out of descriptors.
pub const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Connections that are handed to the server at once.
pub const HANDED_OVER_AT_ONCE: usize = 64;

/// Connections that wait for a place in the table after they were accepted. Beyond that the process that has most of
/// them loses one, if those are more than an eighth.
pub const LOBBY: usize = 64;

/// Connections that are accepted in one turn: each takes some microseconds, in which nobody is served.
pub const ACCEPTED_AT_ONCE: usize = 32;

/// How often whoever found a full table of busy connections looks for one that has become idle.
pub const ROOM_PAUSE: Duration = Duration::from_millis(50);

/// How long requests in work may take after the signal to stop.
pub const DRAIN_TIME: Duration = Duration::from_secs(5);

/// How long a start waits for an agent that has the path and does not listen: it may drain that long, and then has
/// a little to clean up.
pub const HANDOVER_TIME: Duration = Duration::from_secs(DRAIN_TIME.as_secs() + 2);

/// How often such a start looks again.
pub const HANDOVER_STEP: Duration = Duration::from_millis(10);

/// How often the agent looks whether its socket is still there, beside what the kernel tells.
pub const PRESENCE_INTERVAL: Duration = Duration::from_secs(60);

/// A log that is larger than this when a detached agent starts, in bytes, is set aside, and the one set aside
/// before is dropped: months of what an agent logs in ordinary use.
pub const MAX_OWN_LOG_BYTES: u64 = 1024 * 1024;

/// Name resolution, TCP and TLS together.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Longest silence of Salesforce in the middle of an answer.
pub const READ_TIME: Duration = Duration::from_secs(15);

/// One exchange as a whole. Salesforce answers within a second or two when it is well.
pub const EXCHANGE_TIME: Duration = Duration::from_secs(30);

/// Introspection comes after an exchange, and its answer can be done without.
pub const INTROSPECTION_TIME: Duration = Duration::from_secs(5);

/// How long a panic tries to revoke tokens. Everything is wiped before that.
pub const REVOCATION_TIME: Duration = Duration::from_secs(10);

/// Body of a token answer, in bytes. Real ones have about 1 KiB, with an id token about 3.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Consumer key, username and consumer secret each, in bytes.
pub const MAX_FIELD_BYTES: usize = 512;

/// URL of a token host or an audience, in bytes.
pub const MAX_URL_BYTES: usize = 512;

/// Lifetimes and idle times, in seconds: a year.
pub const MAX_LIFETIME_SECONDS: u32 = 366 * 24 * 3600;

/// Questions to the user that wait, and callers that ask one at a time.
pub const MAX_QUESTIONS: usize = 64;

/// Callers whose yes is remembered.
pub const MAX_CONSENTS: usize = 1_024;

/// The same audit event within this time is counted instead of written.
pub const AUDIT_WINDOW: Duration = Duration::from_secs(10);

/// Audit events that are counted at a time; beyond that each is written.
pub const MAX_AUDIT_SUBJECTS: usize = 16_384;

/// Different denials of one user within [`AUDIT_WINDOW`] that are written; further ones are counted together.
pub const MAX_AUDIT_DENIALS_PER_UID: usize = 100;

/// Audit records that wait for the disk.
pub const AUDIT_QUEUE: usize = 1_024;

/// How long a request waits for its audit record: longer, and the disk hangs.
pub const AUDIT_TIME: Duration = Duration::from_secs(5);

/// `agent.toml`, in bytes: a thousand accounts with long policies fit.
pub const MAX_SETTINGS_BYTES: u64 = 256 * 1024;

/// How long a question to the user may stay unanswered, and how long it may at most: the request that waits for
/// the answer ends after [`REQUEST_TIME`].
pub const ASKPASS_TIME: Duration = Duration::from_secs(45);
/// See [`ASKPASS_TIME`].
pub const MAX_ASKPASS_TIME: Duration = Duration::from_secs(55);
