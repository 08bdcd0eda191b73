//! `sfkey-agent` from outside: the real program on a real socket, against the simulator over TLS.

mod accounts;
mod assertions;
mod documents;
mod edge;
mod exchange;
mod faults;
mod refusals;
mod sealing;
mod secrets;
mod services;
mod start;
mod stop;
mod strangers;
mod wire;
