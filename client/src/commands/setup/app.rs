//! The External Client App: its metadata, or the clicks that make it.

use std::path::{Path, PathBuf};

use super::{
    Walk,
    answers::{self, CLICKS, CONNECTED_APP, Field, METADATA, NEW_APP},
    interview::Interview,
    org,
};
use crate::{
    duration,
    exit::{Cause, Failure, words},
    metadata::{self, ApiName, App, CALLBACK_URL, Written},
    quote,
};

/// Session timeout that a new app gets, and that the agent is told: Salesforce's own default.
const SESSION_TIMEOUT: &str = "2h";

impl Walk<'_> {
    /// Step 5: makes the app, or says what is to be looked at on one that is there.
    pub(super) fn app(&mut self) -> Result<(), Failure> {
        if self.answers.get(Field::ConsumerKey).is_some() && !self.answers.is(Field::App, NEW_APP) {
            return Ok(());
        }
        if self.answers.is(Field::AppReady, "yes") {
            return Ok(());
        }
        let connected = self.answers.is(Field::App, CONNECTED_APP);
        let title = if connected {
            "The Connected App"
        } else {
            "The External Client App"
        };
        if let Some(interview) = &self.interview {
            interview.step(5, title);
        }
        if !self.answers.is(Field::App, NEW_APP) {
            return self.app_that_is_there(connected);
        }
        self.ask_about_the_app()?;
        self.keep()?;
        match self.answers.get(Field::Create) {
            Some(CLICKS) => self.show_clicks()?,
            _ => self.write_metadata()?,
        }
        if let Some(interview) = &self.interview {
            interview.enter(
                "\nPress Enter when that is done (Ctrl-C keeps what was answered; go on with sfkey setup): ",
            )?;
            self.answers.set(Field::AppReady, "yes");
            self.keep()?;
        }
        Ok(())
    }

    fn app_that_is_there(&mut self, connected: bool) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        let flow = if connected {
            "Use digital signatures"
        } else {
            "Enable JWT Bearer Flow"
        };
        interview.say(&format!(
            "Three things on it decide whether Salesforce lets a user in; see to them now, or when it says no:\n  \
             - its certificate is the one of your key (\"{flow}\"),\n  \
             - its scopes are api and \"refresh_token, offline_access\",\n  \
             - its policy is \"Admin approved users are pre-authorized\", with a permission set or profile of the user."
        ));
        self.answers.set(Field::AppReady, "yes");
        self.keep()
    }

    fn ask_about_the_app(&mut self) -> Result<(), Failure> {
        let account = self.account()?;
        let suggested = ApiName::suggested("sfkey_", account.as_str()).to_string();
        let folder = format!("{account}-app");
        let Some(interview) = &self.interview else {
            self.answers.fill_one(Field::Create, METADATA);
            self.answers.fill_one(Field::AppName, suggested);
            self.answers.fill_one(Field::AppLabel, format!("sfkey {account}"));
            return Ok(());
        };
        if self.answers.get(Field::Create).is_none() {
            let ways = [
                "deploy it with the sf CLI: setup writes the metadata",
                "by hand in Setup: setup prints the clicks and the values",
            ];
            let chosen = interview.choose("How is it made", &ways, 0)?;
            self.answers.set(Field::Create, [METADATA, CLICKS][chosen]);
        }
        let answers = &mut self.answers;
        if answers.get(Field::AppName).is_none() {
            interview.ask(answers, Field::AppName, "API name of the app", Some(&suggested))?;
        }
        answers.fill_one(Field::AppLabel, format!("sfkey {account}"));
        if answers.get(Field::ContactEmail).is_none() {
            interview.ask(
                answers,
                Field::ContactEmail,
                "E-mail of whoever looks after the app",
                None,
            )?;
        }
        if answers.get(Field::PermissionSet).is_none() {
            interview.say(
                "The app lets in whoever has a certain permission set. It must be there before the app is: if there is \
                 none, make one in Setup > Permission Sets > New; it need not permit anything but \"API Enabled\".",
            );
            interview.ask(
                answers,
                Field::PermissionSet,
                "API name of the permission set",
                None,
            )?;
        }
        if answers.is(Field::Create, METADATA) && answers.get(Field::MetadataFolder).is_none() {
            interview.ask(
                answers,
                Field::MetadataFolder,
                "New folder for the metadata",
                Some(&folder),
            )?;
        }
        Ok(())
    }

    fn write_metadata(&mut self) -> Result<(), Failure> {
        let folder = PathBuf::from(self.required(Field::MetadataFolder)?);
        let app = self.described_app()?;
        self.answers.fill_one(Field::SessionTimeout, SESSION_TIMEOUT);
        let written = metadata::write(&folder, &app.files()).map_err(|error| unwritten(&folder, &error))?;
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        let done = match written {
            Written::New => "Written",
            Written::AlreadyThere => "There already",
        };
        interview.say(&format!(
            "\n{done}: {} in {}\nDeploy it as an administrator of the org:\n",
            app.name,
            folder.display()
        ));
        for line in self.deploy_lines(&folder)? {
            interview.verbatim(&format!("  {line}"));
        }
        interview.say(
            "\nThe folder's .gitignore keeps the global OAuth settings out of git: retrieved from an org they hold the \
             consumer secret.",
        );
        Ok(())
    }

    /// The commands that put the metadata into the org and let the user in.
    pub(super) fn deploy_lines(&self, folder: &Path) -> Result<Vec<String>, Failure> {
        let folder = quote::word(&folder.to_string_lossy());
        let login_url = quote::word(self.required(Field::LoginUrl)?);
        let mut lines = vec![
            format!("sf org login web --alias admin --instance-url {login_url}"),
            format!("cd {folder} && sf project deploy start --manifest package.xml --target-org admin"),
        ];
        let username = quote::word(self.required(Field::Username)?);
        for set in self.permission_sets()? {
            lines.push(format!(
                "sf org assign permset --name {set} --on-behalf-of {username} --target-org admin"
            ));
        }
        Ok(lines)
    }

    fn described_app(&self) -> Result<App, Failure> {
        let certificate = self.certificate()?;
        let checked = |field: Field, error: String| {
            Failure::new(Cause::Usage, format!("{}: {error}", field.key()), "correct it")
        };
        let timeout = self.answers.get(Field::SessionTimeout).unwrap_or(SESSION_TIMEOUT);
        Ok(App {
            name: self
                .required(Field::AppName)?
                .parse()
                .map_err(|error| checked(Field::AppName, error))?,
            label: self
                .required(Field::AppLabel)?
                .parse()
                .map_err(|error| checked(Field::AppLabel, error))?,
            contact_email: self
                .required(Field::ContactEmail)?
                .parse()
                .map_err(|error| checked(Field::ContactEmail, error))?,
            certificate,
            consumer_key: self.answers.get(Field::ConsumerKey).map(str::to_owned),
            permission_sets: self.permission_sets()?,
            session_timeout_minutes: duration::parse(timeout).ok().map(|seconds| seconds / 60),
        })
    }

    fn permission_sets(&self) -> Result<Vec<ApiName>, Failure> {
        answers::permission_sets(self.required(Field::PermissionSet)?)
            .map_err(|error| Failure::new(Cause::Usage, format!("permission_set: {error}"), "correct it"))
    }

    fn show_clicks(&self) -> Result<(), Failure> {
        let Some(interview) = &self.interview else {
            return Ok(());
        };
        let login_url = self.required(Field::LoginUrl)?;
        let setup = org::setup_page(login_url).map_or_else(String::new, |page| format!(" ({page})"));
        interview.say(&format!("\nAs an administrator, in Setup{setup}:"));
        self.clicks_of_the_app(interview)?;
        self.clicks_of_the_policy(interview)
    }

    fn clicks_of_the_app(&self, interview: &Interview<'_>) -> Result<(), Failure> {
        interview.verbatim(&format!(
            "
 1. External Client App Manager > New External Client App
      External Client App Name  {label}
      API Name                  {name}
      Contact Email             {email}
      Distribution State        Local
 2. API (Enable OAuth Settings) > Enable OAuth
      Callback URL              {CALLBACK_URL}
      OAuth Scopes              Manage user data via APIs (api)
                                Perform requests at any time (refresh_token, offline_access)
 3. Flow Enablement > Enable JWT Bearer Flow > upload
      {certificate}
    then Create",
            label = self.required(Field::AppLabel)?,
            name = self.required(Field::AppName)?,
            email = self.required(Field::ContactEmail)?,
            certificate = self.required(Field::Certificate)?,
        ));
        Ok(())
    }

    fn clicks_of_the_policy(&self, interview: &Interview<'_>) -> Result<(), Failure> {
        interview.verbatim(&format!(
            " 4. Policies > Edit > OAuth Policies
      Permitted Users           Admin approved users are pre-authorized
      Permission Sets           {sets}
    then Save
 5. Users > {username} > Permission Set Assignments > Edit Assignments
      {sets}",
            sets = self.required(Field::PermissionSet)?,
            username = self.required(Field::Username)?,
        ));
        Ok(())
    }
}

fn unwritten(folder: &Path, error: &std::io::Error) -> Failure {
    let shown = folder.display();
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return Failure::new(
            Cause::Io,
            format!("{shown} is there already, with something else in it; nothing was overwritten"),
            "name another folder, or move that one away",
        );
    }
    Failure::new(
        Cause::Io,
        format!("cannot write the metadata to {shown}: {}", words(error)),
        "name another folder",
    )
}
