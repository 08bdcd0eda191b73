//! An External Client App as source that `sf project deploy start` puts into an org.
//!
//! ```text
//! app         what there is to say of the app, each value checked
//! components  the five components, package.xml, and the project around them, as texts
//! xml         elements with what stands in them escaped
//! folder      the texts as one new folder, whole or not at all
//! ```
//!
//! Types, folders and suffixes are those of the Metadata API Developer Guide, "ExternalClientApplication" and what it
//! links to.

mod app;
mod components;
mod folder;
mod xml;

pub(crate) use app::{ApiName, App, Email, Label};
pub(crate) use components::CALLBACK_URL;
pub(crate) use folder::{Written, write};
