//! `sfkey-agent`: holds Salesforce private keys and serves access tokens.
//!
//! The modules stand in the order in which a request meets them:
//!
//! ```text
//! socket ─▶ peer ─▶ connection ─▶ service ─▶ policy ─▶ accounts ─▶ account ─▶ token
//!           who?                  one verb   Permit    registry    one task   still good?  logins: not too often
//!                                                                      │
//!                                  salesforce ◀── assertion ◀── custody┘
//!                                  HTTPS           signed JWS    the key, used and never fetched
//! ```
//!
//! Three seams can be replaced: [`clock::Clock`], [`salesforce::TokenEndpoint`], [`custody::Signer`].

pub mod socket;

pub mod peer;

pub mod connection;

pub mod service;

pub mod policy;

pub mod confirm;

pub mod audit;

pub mod accounts;

pub mod account;

pub mod token;

pub mod logins;

pub mod check;

pub mod assertion;

pub mod identity;

pub mod salesforce;

pub mod custody;

pub mod access;
pub mod agent;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod error;
pub mod escape;
pub mod hardening;
pub mod launch;
pub mod limits;
pub mod lock;
pub mod logging;
pub mod notify;
pub mod settings;
pub mod shutdown;

#[cfg(test)]
mod testing;
