//! Where the agent's socket is, and whether the way to it can be trusted. Both ends look alike.

use std::{
    ffi::OsString,
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Where user managers put the runtime directories of users.
const RUN_USER: &str = "/run/user";

/// Writable by the group or by everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// In a sticky directory others may create files but not replace one's own.
const STICKY: u32 = 0o1000;

/// The main socket: `flag`, `SFKEY_SOCK`, `$XDG_RUNTIME_DIR/sfkey/agent.sock`, `/run/user/UID/sfkey/agent.sock`
/// when that runtime directory exists and is the user's, and last
/// `${XDG_STATE_HOME:-~/.local/state}/sfkey/agent.sock`. `None` when nothing of that is known.
///
/// An empty variable counts as unset, and a relative path in an `XDG_` variable is ignored, as the XDG Base
/// Directory Specification asks.
pub fn socket_path(
    flag: Option<&Path>,
    uid: u32,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    socket_path_below(Path::new(RUN_USER), flag, uid, variable)
}

fn socket_path_below(
    run_user: &Path,
    flag: Option<&Path>,
    uid: u32,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    let set = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let absolute = |name: &str| set(name).filter(|path| path.is_absolute());
    if let Some(path) = flag.map(Path::to_path_buf).or_else(|| set("SFKEY_SOCK")) {
        return Some(path);
    }
    let run_user = || own_runtime_directory(run_user, uid);
    let directory = absolute("XDG_RUNTIME_DIR")
        .or_else(run_user)
        .or_else(|| state_directory(&variable))?;
    Some(directory.join("sfkey/agent.sock"))
}

/// `${XDG_STATE_HOME:-~/.local/state}`; `None` when neither variable holds an absolute path.
pub fn state_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

/// The restricted socket, when no path is given for it: `$XDG_RUNTIME_DIR/sfkey-token/token.sock`,
/// `/run/user/UID/sfkey-token/token.sock` when that runtime directory exists and is the user's, and last the whole
/// system's `/run/sfkey-token/token.sock`.
pub fn token_socket_path(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let named = variable("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let directory = named.or_else(|| own_runtime_directory(Path::new(RUN_USER), uid));
    directory
        .unwrap_or_else(|| PathBuf::from("/run"))
        .join("sfkey-token/token.sock")
}

fn own_runtime_directory(run_user: &Path, uid: u32) -> Option<PathBuf> {
    let path = run_user.join(uid.to_string());
    let ours = fs::metadata(&path).is_ok_and(|found| found.is_dir() && found.uid() == uid);
    ours.then_some(path)
}

/// What speaks against a path.
#[derive(Debug)]
pub enum Distrust {
    /// A directory, or a symbolic link, on the way belongs to another user.
    Owner {
        /// The directory or link.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Others may replace what is in a directory on the way.
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory on the way cannot be looked at.
    Unknown {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { path, uid } => write!(f, "{} belongs to another user (uid {uid})", path.display()),
            Self::Writable { path, mode } => {
                write!(f, "others may write to {} (mode {mode:04o})", path.display())
            }
            Self::Unknown { path, source } => write!(f, "{} cannot be checked: {source}", path.display()),
        }
    }
}

impl std::error::Error for Distrust {}

/// Whether what belongs to `uid` belongs to `own` or root.
///
/// In a user namespace that has no root, such as the one which `PrivateUsers=` makes for a unit of a user's systemd,
/// root's files look like those of every other user outside (user_namespaces(7)): there they count as root's, for
/// nothing tells them apart. Whoever comes from outside, as `sfkey` does, looks at the same way without that veil.
#[must_use]
pub fn is_own_or_roots(uid: u32, own: u32) -> bool {
    uid == own || uid == 0 || uid == root()
}

/// Whether this process is in a user namespace that has no root. It sees other users' ids as one, and nothing of the
/// programs of processes outside, its own user's included.
#[must_use]
pub fn has_no_root() -> bool {
    root() != 0
}

/// Which user root looks like to this process.
fn root() -> u32 {
    static ROOT: OnceLock<u32> = OnceLock::new();
    *ROOT.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").ok();
        let overflow = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
        root_as_seen(map.as_deref(), overflow.as_deref())
    })
}

/// Which user root looks like, by the map of this namespace's users.
fn root_as_seen(map: Option<&str>, overflow: Option<&str>) -> u32 {
    // Each line: the first user inside, the first one outside, and how many there are.
    let mut inside = map
        .unwrap_or_default()
        .lines()
        .map(|line| line.split_whitespace().next());
    let has_no_root = map.is_some_and(|map| !map.is_empty()) && inside.all(|first| first != Some("0"));
    let overflow = overflow.and_then(|overflow| overflow.trim().parse().ok());
    overflow.filter(|_| has_no_root).unwrap_or(0)
}

/// Requires that every directory above `path` belongs to `own` or root and cannot be written by others,
/// sticky directories aside. What stands at `path` itself is the caller's business.
///
/// # Errors
/// What speaks against it. There is no way to overrule the judgement.
pub fn judge_ancestors(path: &Path, own: u32) -> Result<(), Distrust> {
    let unknown = |path: &Path| {
        let path = path.to_path_buf();
        |source| Distrust::Unknown { path, source }
    };
    let typed = std::path::absolute(path).map_err(unknown(path))?;
    let Some(directory) = typed.parent() else {
        return Ok(());
    };
    let real = directory.canonicalize().map_err(unknown(directory))?;
    // The path as it was typed can lead over symbolic links; both ways must be safe.
    for ancestor in directory.ancestors().chain(real.ancestors()) {
        let found = fs::symlink_metadata(ancestor).map_err(unknown(ancestor))?;
        judge_ancestor(ancestor, found.uid(), found.mode(), found.is_dir(), own)?;
    }
    Ok(())
}

fn judge_ancestor(path: &Path, uid: u32, mode: u32, is_dir: bool, own: u32) -> Result<(), Distrust> {
    let path = || path.to_path_buf();
    if !is_own_or_roots(uid, own) {
        return Err(Distrust::Owner { path: path(), uid });
    }
    // The permission bits of a symbolic link mean nothing.
    if is_dir && mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
        return Err(Distrust::Writable {
            path: path(),
            mode: mode & 0o7777,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 1000;
    const OTHER: u32 = 1001;

    fn resolved(
        run_user: &Path,
        uid: u32,
        flag: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Option<PathBuf> {
        socket_path_below(run_user, flag.map(Path::new), uid, |name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_socket_is_looked_for_in_the_documented_order() {
        let nowhere = Path::new("/nonexistent");
        let all = [
            ("SFKEY_SOCK", "/s"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_STATE_HOME", "/st"),
            ("HOME", "/h"),
        ];
        let expect = |flag, skip: usize, path: &str| {
            assert_eq!(
                resolved(nowhere, ME, flag, &all[skip..]),
                Some(PathBuf::from(path))
            );
        };
        expect(Some("/f"), 0, "/f");
        expect(None, 0, "/s");
        expect(None, 1, "/r/sfkey/agent.sock");
        expect(None, 2, "/st/sfkey/agent.sock");
        expect(None, 3, "/h/.local/state/sfkey/agent.sock");
        assert_eq!(resolved(nowhere, ME, None, &[]), None);
    }

    #[test]
    fn empty_variables_and_relative_xdg_paths_count_as_unset() {
        let variables = [("SFKEY_SOCK", ""), ("XDG_RUNTIME_DIR", "run"), ("HOME", "/h")];
        let path = resolved(Path::new("/nonexistent"), ME, None, &variables);
        assert_eq!(path, Some(PathBuf::from("/h/.local/state/sfkey/agent.sock")));
    }

    #[test]
    fn the_runtime_directory_is_found_without_its_variable_when_it_is_ours() {
        let run = tempfile::tempdir().expect("a directory");
        let uid = fs::metadata(run.path()).expect("metadata").uid();
        fs::create_dir(run.path().join(uid.to_string())).expect("created");
        let path = resolved(run.path(), uid, None, &[("HOME", "/h")]);
        assert_eq!(
            path,
            Some(run.path().join(uid.to_string()).join("sfkey/agent.sock"))
        );
        let other = resolved(run.path(), uid + 1, None, &[("HOME", "/h")]);
        assert_eq!(other, Some(PathBuf::from("/h/.local/state/sfkey/agent.sock")));
    }

    #[test]
    fn root_looks_like_nobody_only_where_the_namespace_has_no_root() {
        let seen = |map| root_as_seen(map, Some("65534\n"));
        assert_eq!(seen(Some("      1000       1000          1\n")), 65534);
        for map in [
            "         0          0 4294967295\n",
            "      1000       1000          1\n         0     100000      65536\n",
            "         0       1000          1\n",
        ] {
            assert_eq!(seen(Some(map)), 0, "{map}");
        }
        assert_eq!((seen(None), seen(Some(""))), (0, 0), "nothing is known");
        assert_eq!(root_as_seen(Some("5 5 1\n"), None), 0);
    }

    #[test]
    fn an_ancestor_of_another_user_is_refused_whatever_its_mode() {
        let path = Path::new("/x");
        for (mode, is_dir) in [(0o700, true), (0o1777, true), (0o777, false)] {
            assert!(judge_ancestor(path, OTHER, mode, is_dir, ME).is_err());
        }
        assert!(judge_ancestor(path, ME, 0o755, true, ME).is_ok());
        assert!(judge_ancestor(path, 0, 0o755, true, ME).is_ok());
    }

    #[test]
    fn an_ancestor_that_others_can_write_is_refused_unless_it_is_sticky() {
        let path = Path::new("/x");
        for mode in [0o775, 0o757, 0o777, 0o2775] {
            let distrust = judge_ancestor(path, ME, mode, true, ME).expect_err("writable");
            assert!(matches!(distrust, Distrust::Writable { .. }), "{distrust}");
        }
        assert!(judge_ancestor(path, 0, 0o1777, true, ME).is_ok());
        assert!(judge_ancestor(path, ME, 0o777, false, ME).is_ok(), "a link");
    }

    #[test]
    fn the_directories_behind_a_symbolic_link_are_judged_too() {
        let place = tempfile::tempdir().expect("a directory");
        let open = place.path().join("open");
        fs::create_dir(&open).expect("created");
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("mode set");
        std::os::unix::fs::symlink(&open, place.path().join("link")).expect("linked");
        let own = fs::metadata(place.path()).expect("metadata").uid();
        let distrust =
            judge_ancestors(&place.path().join("link/agent.sock"), own).expect_err("open behind it");
        assert!(
            matches!(&distrust, Distrust::Writable { path, .. } if path.ends_with("open")),
            "{distrust}"
        );
    }
}
