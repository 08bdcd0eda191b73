//! What `agent.toml` makes of the agent: read at start, and read again when SIGHUP asks for it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use sfkey_proto::place::{has_no_root, token_socket_path};

use crate::{
    agent::Agent,
    audit::{Audit, AuditError, Destinations},
    config::Options,
    confirm::{Askpass, Confirmer},
    peer::identity_is_known,
    policy::{Policy, Rules, require_applicable},
    settings::{Limits, Settings, SettingsError, SettingsFile, TokenSocket},
    socket::{Bound, Opening, RestrictedBindError},
};

/// Settings and the policy that they make.
pub struct Access {
    /// As they were read at start, with what the command line changes.
    pub settings: Settings,
    /// The limits of the file, with what the command line changes.
    pub limits: Limits,
    /// The rules in force.
    pub policy: Arc<Policy>,
    owner: u32,
    file: Option<SettingsFile>,
    /// Where one may come to be that was not there at start.
    places: Vec<SettingsFile>,
}

impl Access {
    /// Reads `agent.toml` for an agent that runs as `owner`.
    ///
    /// # Errors
    /// When it cannot be read, is not right, or asks for what this agent cannot hold to.
    pub fn load(
        options: &Options,
        owner: u32,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let file = SettingsFile::find(options.config.as_deref(), &variable);
        let mut settings = match &file {
            Some(file) => file.read(owner)?,
            None => Settings::default(),
        };
        let places = SettingsFile::usual(&variable);
        if let Some(path) = &options.token_socket {
            settings.token_socket.get_or_insert_default().path = Some(path.clone());
        }
        if let Some(socket) = &mut settings.token_socket {
            socket
                .path
                .get_or_insert_with(|| token_socket_path(owner, variable));
        }
        let rules = Rules::new(owner, &settings);
        require_held(&rules, file.as_ref())?;
        Ok(Self {
            limits: options.limits(settings.limits),
            settings,
            policy: Arc::new(Policy::of(rules)),
            owner,
            file,
            places,
        })
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(SettingsFile::path)
    }

    /// The restricted socket's settings and path, when it is wanted.
    #[must_use]
    pub fn token_socket(&self) -> Option<(&TokenSocket, &Path)> {
        let socket = self.settings.token_socket.as_ref()?;
        Some((socket, socket.path.as_deref()?))
    }

    /// Binds the restricted socket, when it is wanted. `main` is where the main one is.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn bind_token_socket(&self, main: &Path) -> Result<Option<Bound>, RestrictedBindError> {
        let Some((socket, path)) = self.token_socket() else {
            return Ok(None);
        };
        let only = match socket.gids.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        let opening = Opening {
            mode: socket.mode,
            group: socket.group.or(only),
        };
        Bound::restricted(path, self.owner, opening, main).map(Some)
    }

    /// Starts the audit trail that the command line asks for.
    ///
    /// # Errors
    /// When its file cannot be had.
    pub fn start_audit(&self, options: &Options, agent: &Arc<Agent>) -> Result<Audit, AuditError> {
        let destinations =
            Destinations::open(options.audit_log.as_deref(), options.audit_journal, self.owner)?;
        Ok(Audit::start(
            destinations,
            options.audit_required,
            self.owner,
            Arc::clone(agent),
        ))
    }

    /// Starts whoever asks the user. `descriptors` is the limit that the agent was started with.
    #[must_use]
    pub fn start_confirmer(&self, descriptors: u64, agent: &Agent) -> Confirmer {
        let askpass = Askpass::of(&self.settings, self.owner, descriptors);
        let asked = self
            .policy
            .rules()
            .accounts
            .values()
            .any(|rule| rule.confirm.is_some());
        match &askpass {
            None if asked => tracing::warn!("agent.toml names no askpass: what must be confirmed is denied"),
            Some(askpass) => {
                if let Some(objection) = askpass.objection() {
                    let program = askpass.program().display();
                    tracing::warn!(askpass = %program, objection, "what must be confirmed is denied");
                }
            }
            None => {}
        }
        let patience = self.settings.askpass_timeout.0;
        Confirmer::start(
            askpass,
            patience,
            self.owner,
            Arc::clone(&agent.clock),
            agent.locked.clone(),
        )
    }

    /// Reads the file again, or the one that is there by now, and makes the rules stricter where it says so. What it
    /// would allow beyond the rules in force waits for a restart; a file that is not right changes nothing.
    pub fn reload(&mut self) {
        let found = self.file.as_ref().or_else(|| SettingsFile::first(&self.places));
        let Some(file) = found.cloned() else {
            tracing::info!("SIGHUP: there is no agent.toml");
            return;
        };
        let path = file.path().display();
        let read = file.read(self.owner).and_then(|settings| {
            let rules = Rules::new(self.owner, &settings);
            // A restricted socket without accounts is one that was closed.
            let mut applicable = rules.clone();
            applicable.token_socket = None;
            require_held(&applicable, Some(&file)).map(|()| (settings, rules))
        });
        let (settings, rules) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, fix = error.fix(), "SIGHUP: agent.toml is not right; the rules stay as they are");
                return;
            }
        };
        let mut left = self.policy.tighten(&rules);
        left.extend(self.settings.differences(&settings));
        for what in &left {
            tracing::warn!(
                what,
                "SIGHUP: allows more, or is read at start only; restart the agent for it"
            );
        }
        tracing::info!(file = %path, waiting_for_restart = left.len(), "SIGHUP: agent.toml was read again");
        self.file = Some(file);
    }
}

/// Requires that this process can hold to the rules.
fn require_held(rules: &Rules, file: Option<&SettingsFile>) -> Result<(), SettingsError> {
    require_applicable(rules, file, &identity_is_known(), has_no_root())
}

/// What `sfkey-agent --check-config` prints: which file, and what follows from it, a line each.
#[must_use]
pub fn describe(access: &Access) -> Vec<String> {
    let file = match access.file() {
        Some(path) => format!("{}: good", path.display()),
        None => "there is no agent.toml: every account is for every program of this user".to_owned(),
    };
    let mut lines = vec![file];
    let rules = access.policy.rules();
    if let (Some((_, path)), Some(rule)) = (access.token_socket(), &rules.token_socket) {
        lines.push(format!(
            "restricted socket {}: accounts {}; user {}, besides users [{}], groups [{}]",
            path.display(),
            list(&rule.accounts),
            rules.owner,
            list(&rule.uids),
            list(&rule.gids)
        ));
    }
    for (name, rule) in &rules.accounts {
        lines.push(format!("account {name}: {rule}"));
    }
    lines
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

/// A path that `agent.toml` names and that is not there: a rule that lets nobody in may be a mistyped one.
#[must_use]
pub fn missing_programs(rules: &Rules) -> Vec<PathBuf> {
    let named = rules
        .accounts
        .values()
        .filter_map(|rule| rule.executables.as_ref());
    named.flatten().filter(|path| !path.exists()).cloned().collect()
}
