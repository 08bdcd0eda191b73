//! Custody from outside: what the memory, the sockets and the descendants of both programs give away.
//!
//! Root reads the whole memory of the real programs and searches it for every secret that the tests handed to
//! them or could find out. No special build takes part, and nothing inside the programs helps the search.

mod client;
mod core_dump;
mod descendants;
mod gate;
mod hardened;
mod hunt;
mod locked;
mod memory;
mod others;
mod outside;
mod protection;
mod relay;
mod scene;
mod sealed;
mod sealing_key;
