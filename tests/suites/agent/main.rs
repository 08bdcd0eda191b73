//! `sfkey-agent` from outside: the real program on a real socket, against the simulator over TLS.

mod accounts;
mod activation;
mod assertions;
mod audit;
mod confirm;
mod daemon;
mod documents;
mod edge;
mod exchange;
mod faults;
mod launch;
mod log;
mod policy;
mod refusals;
mod restricted;
mod sealing;
mod secrets;
mod services;
mod settings;
mod shells;
mod start;
mod stop;
mod strangers;
mod verbs;
