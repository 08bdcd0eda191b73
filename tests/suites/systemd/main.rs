//! The units of `systemd/` under a real systemd: a user's manager in a namespace with its own `/tmp` and `/run`.

mod analyze;
mod journal;
mod nest;
mod ready;
mod service;
mod system;
mod user;
