//! `sfkey` from outside: the real command with a real agent, against the simulator over TLS.

mod add;
mod bench;
mod completions;
mod config;
mod desktop;
mod doctor;
mod errors;
mod exec;
mod help;
mod import;
mod json;
mod keygen;
mod keyring;
mod keys;
mod late;
mod lock;
mod on_demand;
mod secrets;
mod service;
mod setup;
mod shells;
mod state;
mod terminal;
mod token;
mod trust;
mod verbs;
