//! What the fuzz targets share: opinions of their own, to hold the project's against.
//!
//! ```text
//! planted   credentials that are put into an input, and whether something of them comes out
//! hosts     which URL may be believed, read without the crate that the agent reads URLs with
//! text      what a terminal and a log can bear
//! ```

pub mod hosts;
pub mod planted;
pub mod text;
