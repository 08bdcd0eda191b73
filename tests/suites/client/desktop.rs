//! A desktop's session for tests: a D-Bus of its own, and on it a real gnome-keyring.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use secret_service::{
    EncryptionType,
    blocking::{Collection, SecretService},
};
use sfkey_tests::support::{Home, Sfkey, Stage, stranger::skipped};
use zbus::blocking::{Connection, connection, fdo::DBusProxy};

/// Longest wait for something that surely comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a desktop can be had; otherwise tells that `test` did not run.
pub(crate) fn is_possible(test: &str) -> bool {
    ["dbus-daemon", "gnome-keyring-daemon"]
        .iter()
        .all(|program| is_installed(test, program))
}

fn is_installed(test: &str, program: &str) -> bool {
    let found = ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .any(|directory| std::path::Path::new(directory).join(program).exists());
    if !found {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "{program} is installed in CI"
        );
        skipped(test, &format!("{program} is not installed"));
    }
    found
}

/// A child that is killed by its process id when dropped.
#[derive(Debug)]
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A session bus on which nobody serves anything.
#[derive(Debug)]
pub(crate) struct Bus {
    _daemon: Daemon,
    /// As D-Bus writes it.
    pub(crate) address: String,
}

impl Bus {
    /// Starts one. `services` is what it starts by itself when it is asked for: lines of D-Bus service files.
    pub(crate) fn start(home: &Home, services: &[&str]) -> Self {
        for (number, service) in services.iter().enumerate() {
            home.write(&format!("bus/services/{number}.service"), service);
        }
        let config = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen>{}\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            home.path("bus.socket").display(),
            match services {
                [] => String::new(),
                _ => format!("<servicedir>{}</servicedir>", home.path("bus/services").display()),
            }
        );
        let config = home.write("bus.conf", config);
        let mut child = Command::new("dbus-daemon")
            .args(["--nofork", "--print-address=1", "--config-file"])
            .arg(config)
            .env_clear()
            .envs(home.environment())
            .env("PATH", "/usr/bin:/bin")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon can be executed");
        let mut address = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        out.read_line(&mut address).expect("it tells its address");
        Self {
            _daemon: Daemon(child),
            address: address.trim().to_owned(),
        }
    }

    /// A connection to it.
    fn connect(&self) -> Connection {
        let builder = connection::Builder::address(self.address.as_str()).expect("it is an address");
        builder.build().expect("the bus answers")
    }

    /// `sfkey ARGUMENTS` of somebody who is logged in here.
    pub(crate) fn sfkey<A: Into<std::ffi::OsString>>(
        &self,
        stage: &Stage,
        arguments: impl IntoIterator<Item = A>,
    ) -> Sfkey {
        stage
            .sfkey(arguments)
            .variable("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }
}

/// A session bus with a keyring on it.
pub(crate) struct Desktop {
    keyring: Daemon,
    /// What `sfkey` is told of it.
    pub(crate) bus: Bus,
}

impl Desktop {
    /// With the login keyring unlocked, as after a login.
    pub(crate) fn start(home: &Home) -> Self {
        Self::with(home, &["--unlock"], &[])
    }

    /// With a keyring that was started like this, on a bus that starts `services`. Returns when it serves.
    pub(crate) fn with(home: &Home, arguments: &[&str], services: &[&str]) -> Self {
        let bus = Bus::start(home, services);
        let connection = bus.connect();
        let proxy = DBusProxy::new(&connection).expect("every bus has it");
        let owners = proxy.receive_name_owner_changed().expect("subscribed");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for change in owners {
                let served = change
                    .args()
                    .is_ok_and(|change| change.name().as_str() == "org.freedesktop.secrets");
                if served && tell.send(()).is_ok() {
                    return;
                }
            }
        });
        let mut child = Command::new("gnome-keyring-daemon")
            .args(["--foreground", "--components=secrets"])
            .args(arguments)
            .env_clear()
            .envs(home.environment())
            .env("PATH", "/usr/bin:/bin")
            .env("DBUS_SESSION_BUS_ADDRESS", &bus.address)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(home.path("keyring.log")).expect("created"))
            .spawn()
            .expect("gnome-keyring-daemon can be executed");
        let mut password = child.stdin.take().expect("it is piped");
        // One that does not unlock does not read.
        password.write_all(b"login password").ok();
        drop(password);
        let keyring = Daemon(child);
        told.recv_timeout(PATIENCE).expect("the keyring serves");
        Self { keyring, bus }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.keyring.0.id()
    }

    /// Puts an item there, as another program would.
    pub(crate) fn put(&self, user: &str, secret: &[u8]) {
        self.ask(|collection| {
            let attributes = HashMap::from([("service", "sfkey"), ("username", user)]);
            let created = collection.create_item(user, attributes, secret, true, "text/plain");
            drop(created.expect("created"));
        });
    }

    /// What an item holds; `None` when there is none.
    pub(crate) fn secret(&self, user: &str) -> Option<Vec<u8>> {
        self.ask(|collection| {
            let attributes = HashMap::from([("service", "sfkey"), ("username", user)]);
            let mut found = collection.search_items(attributes).expect("searched");
            assert!(found.len() <= 1, "one item a name");
            found.pop().map(|item| item.get_secret().expect("readable"))
        })
    }

    /// Locks it, as a screen lock may.
    pub(crate) fn lock(&self) {
        self.ask(|collection| collection.lock().expect("locked"));
    }

    fn ask<T>(&self, act: impl FnOnce(&Collection<'_>) -> T) -> T {
        let service = SecretService::connect_with_existing(EncryptionType::Plain, self.bus.connect());
        let service = service.expect("the keyring answers");
        let collection = service.get_default_collection().expect("there is one");
        act(&collection)
    }
}
