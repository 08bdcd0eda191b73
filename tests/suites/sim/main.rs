//! The simulator against `docs/simulator.md`: each fact about Salesforce that it plays is one test. The first word of
//! a test's name is the evidence for the fact: `documented` by Salesforce, `observed` in the wild, or `inferred`.
//! Tests of the simulator's own machinery have no such word.

mod audience;
mod bench;
mod binary;
mod control;
mod faults;
mod grant;
mod hosts;
mod introspection;
mod manual;
mod refusals;
mod rest;
mod server;
mod sessions;
