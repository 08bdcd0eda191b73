//! The hidden `sfkey manual DIRECTORY`: the manual pages, from what the command line is defined to be.

use std::{fs, io, path::Path};

use clap::Command;
use clap_mangen::Man;

use crate::{
    cli,
    exit::{Cause, Failure, words},
};

pub(super) fn run(directory: &Path) -> Result<(), Failure> {
    write(directory).map_err(|error| {
        Failure::new(
            Cause::Io,
            format!(
                "cannot write manual pages into {}: {}",
                directory.display(),
                words(&error)
            ),
            "name a directory that can be written to",
        )
    })
}

fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, directory)
}

/// A page for the command, and one for each below it that is not hidden.
fn write_pages(command: &Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, directory)?;
    }
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(directory.join(page.get_filename()), as_typed(&text))
}

/// The page with the examples line by line as they were written, not filled like prose.
fn as_typed(page: &[u8]) -> String {
    let page = String::from_utf8_lossy(page);
    let Some((before, examples)) = page.split_once(".SH EXTRA\n") else {
        return page.into_owned();
    };
    let (examples, after) = examples.split_once(".SH VERSION\n").unwrap_or((examples, ""));
    let version = if after.is_empty() { "" } else { ".SH VERSION\n" };
    format!("{before}.SH NOTES\n.nf\n{examples}.fi\n{version}{after}")
}
