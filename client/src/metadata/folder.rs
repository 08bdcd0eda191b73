//! A new folder with files in it, whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::components::SourceFile;

/// What became of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The folder is new.
    New,
    /// It was there already, with just these files: the second run of the same thing.
    AlreadyThere,
}

/// Writes `files` as the new folder `folder`. Nothing that stands there is touched.
///
/// # Errors
/// `AlreadyExists` when something else stands there, and whatever writing meets.
pub(crate) fn write(folder: &Path, files: &[SourceFile]) -> io::Result<Written> {
    if folder.symlink_metadata().is_ok() {
        return if holds(folder, files) {
            Ok(Written::AlreadyThere)
        } else {
            Err(io::ErrorKind::AlreadyExists.into())
        };
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent)?;
    let beside = parent.join(format!(".sfkey-metadata.{}", process::id()));
    let written = write_all(&beside, files).and_then(|()| put(&beside, folder));
    if written.is_err() {
        drop(fs::remove_dir_all(&beside));
    }
    written?;
    File::open(parent)?.sync_all()?;
    Ok(Written::New)
}

/// Whether the folder has these files, with these texts.
fn holds(folder: &Path, files: &[SourceFile]) -> bool {
    files
        .iter()
        .all(|file| fs::read(folder.join(&file.path)).is_ok_and(|text| text == file.text.as_bytes()))
}

fn write_all(folder: &Path, files: &[SourceFile]) -> io::Result<()> {
    fs::create_dir(folder)?;
    for file in files {
        let path: PathBuf = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        let mut new = OpenOptions::new().write(true).create_new(true).open(path)?;
        new.write_all(file.text.as_bytes())?;
        new.sync_all()?;
    }
    Ok(())
}

/// Gives the finished folder its name, unless that was taken meanwhile. A file system that cannot promise it (NFS,
/// some FUSE ones) renames as of old: over an empty folder at worst.
fn put(beside: &Path, folder: &Path) -> io::Result<()> {
    match renameat_with(CWD, beside, CWD, folder, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(beside, folder),
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<SourceFile> {
        ["package.xml", "force-app/main/a-meta.xml"]
            .map(|path| SourceFile {
                path: path.into(),
                text: format!("text of {path}"),
            })
            .into()
    }

    #[test]
    fn a_new_folder_is_written_and_the_second_time_is_no_failure() {
        let place = tempfile::tempdir().expect("a directory");
        let folder = place.path().join("deep/app");
        assert_eq!(write(&folder, &files()).expect("written"), Written::New);
        for file in files() {
            assert_eq!(
                fs::read_to_string(folder.join(&file.path)).expect("there"),
                file.text
            );
        }
        assert_eq!(write(&folder, &files()).expect("there"), Written::AlreadyThere);
        let beside = fs::read_dir(place.path().join("deep")).expect("listed").count();
        assert_eq!(beside, 1, "nothing is left beside it");
    }

    #[test]
    fn what_stands_there_is_never_overwritten() {
        let place = tempfile::tempdir().expect("a directory");
        let folder = place.path().join("app");
        write(&folder, &files()).expect("written");
        fs::write(folder.join("package.xml"), "mine").expect("written");
        let error = write(&folder, &files()).expect_err("something else stands there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            fs::read_to_string(folder.join("package.xml")).expect("there"),
            "mine"
        );
        let file = place.path().join("file");
        fs::write(&file, "mine").expect("written");
        assert!(write(&file, &files()).is_err());
        assert_eq!(fs::read_to_string(&file).expect("there"), "mine");
    }

    #[test]
    fn a_folder_that_cannot_be_finished_leaves_nothing_behind() {
        let place = tempfile::tempdir().expect("a directory");
        let mut files = files();
        files.push(SourceFile {
            path: "package.xml/below-a-file".into(),
            text: String::new(),
        });
        assert!(write(&place.path().join("app"), &files).is_err());
        assert_eq!(fs::read_dir(place.path()).expect("listed").count(), 0);
    }
}
