//! `sfkey-agent` from outside: the real program on a real socket, against the simulator over TLS.

mod accounts;
mod assertions;
mod audit;
mod confirm;
mod documents;
mod edge;
mod exchange;
mod faults;
mod policy;
mod refusals;
mod restricted;
mod sealing;
mod secrets;
mod services;
mod settings;
mod start;
mod stop;
mod strangers;
mod verbs;
mod wire;
