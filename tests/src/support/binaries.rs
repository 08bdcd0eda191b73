//! The programs under test, as cargo built them beside the test executable.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The program `name` of this workspace. `make test` builds all of them first.
///
/// # Panics
/// When it is missing, or older than one of its sources: a test of yesterday's program proves nothing.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    // Cargo has just built the programs of the package under test, and names them.
    if let Some(path) = env::var_os(format!("CARGO_BIN_EXE_{name}")) {
        return PathBuf::from(path);
    }
    let path = directory().join(name);
    match staleness(&path) {
        Ok(()) => path,
        Err(why) => panic!("{why}: build everything first, with `make test` or `cargo build --workspace`"),
    }
}

/// The directory that cargo puts programs into: test executables lie in `deps` below it.
fn directory() -> PathBuf {
    let own = env::current_exe().expect("the path of the test executable is known");
    let deps = own.parent().expect("it lies in a directory");
    let above = deps.parent().filter(|_| deps.ends_with("deps"));
    above.unwrap_or(deps).to_path_buf()
}

/// Compares the program with the sources that cargo's dependency file names.
fn staleness(program: &Path) -> Result<(), String> {
    let shown = program.display();
    let built = modified(program).ok_or_else(|| format!("{shown} is missing"))?;
    let list = program.with_extension("d");
    let sources = fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    match sources_of(&sources).find(|source| modified(source).is_some_and(|changed| changed > built)) {
        Some(source) => Err(format!("{shown} is older than {}", source.display())),
        None => Ok(()),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

/// The sources in a dependency file: `TARGET: SOURCE SOURCE …`, spaces in a path escaped.
fn sources_of(list: &str) -> impl Iterator<Item = PathBuf> {
    const SPACE: &str = "\u{0}";
    let lines = list.lines().filter_map(|line| line.split_once(": "));
    lines.flat_map(|(_, sources)| {
        let sources = sources.replace("\\ ", SPACE);
        let paths = sources.split_whitespace().map(|path| path.replace(SPACE, " "));
        paths.map(PathBuf::from).collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path, time::Duration};

    use super::*;

    #[test]
    fn a_dependency_file_is_read_with_spaces_in_its_paths() {
        let sources: Vec<_> = sources_of("/t/program: /a/main.rs /b\\ c/lib.rs\n").collect();
        assert_eq!(sources, [Path::new("/a/main.rs"), Path::new("/b c/lib.rs")]);
    }

    #[test]
    fn a_program_that_is_missing_or_older_than_a_source_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let (program, source) = (place.path().join("program"), place.path().join("main.rs"));
        assert!(staleness(&program).expect_err("missing").contains("missing"));
        File::create(&source).expect("created");
        let file = File::create(&program).expect("created");
        let list = format!("{}: {}\n", program.display(), source.display());
        fs::write(program.with_extension("d"), list).expect("written");
        let changed = modified(&source).expect("a time");
        file.set_modified(changed + Duration::from_secs(1)).expect("set");
        assert_eq!(staleness(&program), Ok(()));
        file.set_modified(changed - Duration::from_secs(1)).expect("set");
        assert!(staleness(&program).expect_err("stale").contains("older"));
    }
}
