//! The variables and the user id that decide where things are, as one value.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use sfkey_proto::place;

/// What the process environment says about places. Logic takes it as a value, so that tests can make one.
///
/// An empty variable counts as unset. A relative path in an `XDG_` variable is ignored, as the XDG Base
/// Directory Specification asks.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Effective user id of this process.
    pub uid: u32,
    /// The agent's socket: `SFKEY_SOCK`, or where agents are looked for ([`place::socket_path`]).
    pub socket: Option<PathBuf>,
    /// `SFKEY_ACCOUNT`: the account when none is named.
    pub account: Option<OsString>,
    /// `XDG_CONFIG_HOME`, or `~/.config`.
    pub config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`, or `~/.local/state`.
    pub state_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`, where systemd puts the credentials of a service.
    pub credentials: Option<PathBuf>,
    /// `DBUS_SESSION_BUS_ADDRESS`, or the bus in `XDG_RUNTIME_DIR`; where the keyring is asked for.
    pub session_bus: Option<String>,
    /// Whether a window can be shown: `DISPLAY` or `WAYLAND_DISPLAY`.
    pub has_display: bool,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(rustix::process::geteuid().as_raw(), |name| env::var_os(name))
    }

    /// The environment that `variable` tells, for the user `uid`.
    #[must_use]
    pub fn of(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let absolute = |name: &str| {
            set(name)
                .map(PathBuf::from)
                .filter(|path| Path::is_absolute(path))
        };
        let home = absolute("HOME");
        let below_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
        Self {
            uid,
            socket: place::socket_path(None, uid, &variable),
            account: set("SFKEY_ACCOUNT"),
            config_home: absolute("XDG_CONFIG_HOME").or_else(|| below_home(".config")),
            state_home: absolute("XDG_STATE_HOME").or_else(|| below_home(".local/state")),
            credentials: absolute("CREDENTIALS_DIRECTORY"),
            session_bus: set("DBUS_SESSION_BUS_ADDRESS")
                .map(|address| address.to_string_lossy().into_owned())
                .or_else(|| {
                    let runtime = absolute("XDG_RUNTIME_DIR")?;
                    Some(format!("unix:path={}/bus", runtime.display()))
                }),
            has_display: set("DISPLAY").or_else(|| set("WAYLAND_DISPLAY")).is_some(),
            home,
        }
    }

    /// `path` with a leading `~/` replaced by the home directory, when there is one.
    #[must_use]
    pub fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Environment {
        Environment::of(1000, |name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn empty_variables_and_relative_xdg_paths_count_as_unset() {
        let environment = with(&[
            ("SFKEY_ACCOUNT", ""),
            ("XDG_CONFIG_HOME", "cfg"),
            ("CREDENTIALS_DIRECTORY", ""),
            ("HOME", "/home/me"),
        ]);
        assert_eq!(environment.account, None);
        assert_eq!(environment.credentials, None);
        assert_eq!(environment.config_home, Some("/home/me/.config".into()));
    }

    #[test]
    fn the_socket_is_where_the_agent_looks_too() {
        assert_eq!(with(&[("SFKEY_SOCK", "/s")]).socket, Some("/s".into()));
        let runtime = with(&[("XDG_RUNTIME_DIR", "/r"), ("HOME", "/h")]);
        assert_eq!(runtime.socket, Some("/r/sfkey/agent.sock".into()));
    }

    #[test]
    fn a_leading_tilde_is_the_home_directory_and_another_tilde_is_not() {
        let environment = with(&[("HOME", "/home/me")]);
        assert_eq!(
            environment.expand("~/keys/a.key"),
            PathBuf::from("/home/me/keys/a.key")
        );
        assert_eq!(environment.expand("~other/a"), PathBuf::from("~other/a"));
        assert_eq!(environment.expand("a~/b"), PathBuf::from("a~/b"));
        assert_eq!(with(&[]).expand("~/a"), PathBuf::from("~/a"));
    }
}
