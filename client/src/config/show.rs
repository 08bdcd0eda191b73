//! Every setting with its value and where that comes from.

use std::collections::BTreeMap;

use serde::Serialize;
use sfkey::{Environment, proto::AccountName};
use toml_edit::{Document, TableLike};

use super::{ACCOUNT_KEYS, Config, line_of, save::settings};
use crate::exit::Failure;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The command line.
    Flag,
    /// A variable of the environment.
    Environment,
    /// A line of the file.
    File,
    /// Nobody said anything.
    Default,
}

/// One setting. None of them holds a secret: of secrets the file says only where they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    pub(crate) setting: String,
    pub(crate) value: String,
    pub(crate) source: Source,
    /// The variable, when it is one.
    pub(crate) variable: Option<&'static str>,
    /// The line in the file, from 1.
    pub(crate) line: Option<usize>,
}

impl Setting {
    pub(crate) fn new(setting: impl Into<String>, value: impl Into<String>, source: Source) -> Self {
        Self {
            setting: setting.into(),
            value: value.into(),
            source,
            variable: None,
            line: None,
        }
    }

    pub(crate) fn of_variable(setting: &str, value: impl Into<String>, variable: &'static str) -> Self {
        Self {
            variable: Some(variable),
            ..Self::new(setting, value, Source::Environment)
        }
    }
}

/// What the file says, as far as it is right, and what of it is not.
pub(crate) struct Shown {
    pub(crate) settings: Vec<Setting>,
    pub(crate) problems: Vec<Failure>,
}

impl Config {
    /// The settings of the file, or those of one account in it, with what holds where it says nothing.
    pub(crate) fn show(environment: &Environment, only: Option<&AccountName>) -> Result<Shown, Failure> {
        let path = super::path(environment);
        let text = path.as_deref().map(super::read_text).transpose()?.flatten();
        let (Some(path), Some(text)) = (path, text) else {
            return Ok(Shown {
                settings: Vec::new(),
                problems: Vec::new(),
            });
        };
        let (config, problems) = Self::parse(&text, &path, environment);
        let lines = lines(&text);
        let of_file = |setting: String, value: String| Setting {
            line: lines.get(&setting).copied(),
            ..Setting::new(setting, value, Source::File)
        };
        let mut settings = Vec::new();
        if let Some(name) = &config.default_account
            && only.is_none()
        {
            settings.push(of_file("default_account".to_owned(), name.to_string()));
        }
        for (name, entry) in &config.accounts {
            if only.is_some_and(|only| only != name) {
                continue;
            }
            let told: BTreeMap<_, _> = settings_by_key(entry);
            for key in ACCOUNT_KEYS {
                let setting = format!("accounts.{name}.{key}");
                match (told.get(key), implied(key)) {
                    (Some(value), _) => settings.push(of_file(setting, value.clone())),
                    (None, Some(value)) => settings.push(Setting::new(setting, value, Source::Default)),
                    (None, None) => {}
                }
            }
        }
        Ok(Shown { settings, problems })
    }
}

fn settings_by_key(entry: &super::AccountEntry) -> BTreeMap<&'static str, String> {
    settings(entry).into_iter().collect()
}

/// What holds where an account says nothing.
fn implied(key: &str) -> Option<&'static str> {
    match key {
        "login_url" => Some(super::DEFAULT_LOGIN_URL),
        "audience" => Some("the login URL"),
        _ => None,
    }
}

/// The line of every setting.
fn lines(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    let Ok(document) = Document::parse(text) else {
        return lines;
    };
    let line = |table: &dyn TableLike, key: &str| {
        let span = table.key(key).and_then(toml_edit::Key::span)?;
        Some(line_of(text, span.start))
    };
    let root: &dyn TableLike = document.as_table();
    if let Some(number) = line(root, "default_account") {
        lines.insert("default_account".to_owned(), number);
    }
    let accounts = root.get("accounts").and_then(|item| item.as_table_like());
    for (name, item) in accounts.into_iter().flat_map(TableLike::iter) {
        let Some(account) = item.as_table_like() else {
            continue;
        };
        for (key, _) in account.iter() {
            if let Some(number) = line(account, key) {
                lines.insert(format!("accounts.{name}.{key}"), number);
            }
        }
    }
    lines
}
