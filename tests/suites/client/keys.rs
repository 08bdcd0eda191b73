//! Every form that people keep keys in reaches the agent as the same key. The files are openssl's own.

use std::{fs, path::PathBuf, process::Command};

use sfkey_tests::support::{Sfkey, Stage, TestKey, binaries, home, stage::ACCOUNT};

use crate::bench::{add_line, run, shown};

const PASSPHRASE: &str = "correct horse battery staple";

const PASS: &str = "pass:correct horse battery staple";

/// Forms that need no passphrase: a name, and what openssl is to make of a PKCS#8 PEM.
const PLAIN: &[(&str, &[&str])] = &[
    ("pkcs8.pem", &["pkcs8", "-topk8", "-nocrypt"]),
    ("pkcs8.der", &["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"]),
    ("pkcs1.pem", &["rsa", "-traditional"]),
    ("pkcs1.der", &["rsa", "-traditional", "-outform", "DER"]),
];

/// Forms that need the passphrase.
const ENCRYPTED: &[(&str, &[&str])] = &[
    (
        "aes.pem",
        &["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", PASS],
    ),
    ("scrypt.pem", &["pkcs8", "-topk8", "-scrypt", "-passout", PASS]),
    (
        "aes.der",
        &[
            "pkcs8",
            "-topk8",
            "-v2",
            "aes-256-cbc",
            "-outform",
            "DER",
            "-passout",
            PASS,
        ],
    ),
    (
        "legacy-aes.pem",
        &["rsa", "-traditional", "-aes256", "-passout", PASS],
    ),
    (
        "legacy-des.pem",
        &["rsa", "-traditional", "-des3", "-passout", PASS],
    ),
];

/// SHA-256 of the public key as openssl finds it.
fn fingerprint(stage: &Stage) -> String {
    let public = stage.home.path("public.der");
    TestKey::of_app().convert(&["pkey", "-pubout", "-outform", "DER"], &public);
    let hashed = Command::new("sha256sum")
        .arg(&public)
        .output()
        .expect("sha256sum is installed");
    String::from_utf8(hashed.stdout).expect("hexadecimal digits")[..64].to_owned()
}

fn assert_serves(stage: &Stage, name: &str) {
    let token = run(stage, &["token", ACCOUNT]).done();
    assert!(
        stage.sim.session_expiry(token.out().trim_end()).is_some(),
        "{name}"
    );
    assert!(run(stage, &["remove", ACCOUNT]).code == 0);
}

#[test]
fn a_key_in_any_plain_form_is_loaded() {
    let stage = Stage::empty();
    let fingerprint = fingerprint(&stage);
    for (name, arguments) in PLAIN {
        let file = TestKey::of_app().convert(arguments, &stage.home.path(name));
        let added = stage.sfkey(add_line(&stage, ACCOUNT, &shown(&file))).run().done();
        assert!(added.out().contains(&fingerprint), "{name}: {}", added.out());
        assert_serves(&stage, name);
    }
}

#[test]
fn a_key_in_any_encrypted_form_is_loaded_with_its_passphrase_from_a_file() {
    let stage = Stage::empty();
    let fingerprint = fingerprint(&stage);
    for (index, (name, arguments)) in ENCRYPTED.iter().enumerate() {
        let file = TestKey::of_app().convert(arguments, &stage.home.path(name));
        // Editors end the line; exactly one end is taken off.
        let end = ["", "\n", "\r\n"][index % 3];
        let passphrase = stage.home.write("passphrase", format!("{PASSPHRASE}{end}"));
        let mut line = add_line(&stage, ACCOUNT, &shown(&file));
        line.extend(["--passphrase-file".to_owned(), shown(&passphrase)]);
        let added = stage.sfkey(line).run().done();
        assert!(added.out().contains(&fingerprint), "{name}: {}", added.out());
        assert_serves(&stage, name);
    }
}

#[test]
fn a_key_comes_from_standard_input_or_from_a_variable() {
    let stage = Stage::empty();
    let pem = TestKey::of_app().pkcs8_pem();
    let _added = stage
        .sfkey(add_line(&stage, ACCOUNT, "-"))
        .input(pem)
        .run()
        .done();
    assert_serves(&stage, "-");
    let from_variable = stage.sfkey(add_line(&stage, ACCOUNT, "env:SERVER_KEY"));
    let _added = from_variable.variable("SERVER_KEY", pem).run().done();
    assert_serves(&stage, "env");
}

#[test]
fn a_wrong_passphrase_is_told_and_nothing_is_loaded() {
    let stage = Stage::empty();
    let (name, arguments) = ENCRYPTED[0];
    let file = TestKey::of_app().convert(arguments, &stage.home.path(name));
    let passphrase = stage.home.write("passphrase", "quite another one");
    let mut line = add_line(&stage, ACCOUNT, &shown(&file));
    line.extend(["--passphrase-file".to_owned(), shown(&passphrase)]);
    let (error, _) = stage.sfkey(line).run().failed(1);
    assert!(error.contains("passphrase"), "{error}");
    assert_eq!(
        run(&stage, &["list", "--json"]).done().json(),
        serde_json::json!({ "accounts": [] })
    );
}

#[test]
fn an_encrypted_key_without_a_terminal_names_the_option_that_helps() {
    let stage = Stage::empty();
    let (name, arguments) = ENCRYPTED[0];
    let file = TestKey::of_app().convert(arguments, &stage.home.path(name));
    let line = [
        "--wait".to_owned(),
        shown(&sfkey_tests::support::binaries::built("sfkey")),
    ];
    let line = line.into_iter().chain(add_line(&stage, ACCOUNT, &shown(&file)));
    // A session of its own has no controlling terminal, whatever the tests run in.
    let command = sfkey_tests::support::Sfkey::program("/usr/bin/setsid".into(), &stage.home, line);
    let (_, fix) = command.run().failed(1);
    assert_eq!(fix, "sfkey add prod --passphrase-file FILE");
}

#[test]
fn a_file_that_is_no_key_is_refused_and_never_reaches_the_agent() {
    let stage = Stage::empty();
    let certificate = &TestKey::of_app().app_key().certificate_pem;
    for (name, content, told) in [
        ("empty", "", "empty"),
        ("words", "this is not a key\n", ""),
        ("certificate.pem", certificate.as_str(), "certificate"),
    ] {
        let file = stage.home.write(name, content);
        let (error, _) = stage
            .sfkey(add_line(&stage, ACCOUNT, &shown(&file)))
            .run()
            .failed(1);
        assert!(error.contains(told), "{name}: {error}");
    }
    let missing = shown(&stage.home.path("nowhere.key"));
    let (error, _) = stage.sfkey(add_line(&stage, ACCOUNT, &missing)).run().failed(1);
    assert!(error.contains("nowhere.key"), "{error}");
    let status = run(&stage, &["status", "--json"]).done().json();
    assert_eq!(status["account_count"], 0);
}

#[test]
fn a_key_file_that_others_may_read_is_used_with_a_warning() {
    let stage = Stage::empty();
    let key = stage.home.write("server.key", TestKey::of_app().pkcs8_pem());
    home::set_mode(&key, 0o644);
    let added = stage.sfkey(add_line(&stage, ACCOUNT, &shown(&key))).run();
    let warned = stage.home.redact(&added.err());
    assert_eq!(
        (added.code, warned.as_str()),
        (
            0,
            "warning: others can read HOME/server.key (mode 0644); to end that: chmod go= HOME/server.key\n"
        )
    );
    home::set_mode(&key, 0o600);
    let _added = stage.sfkey(add_line(&stage, ACCOUNT, &shown(&key))).run().done();
}

/// An encrypted key that asks for eight million iterations of its hash: a million, and then its number changed.
fn costly_key(stage: &Stage) -> PathBuf {
    const MILLION: [u8; 5] = [2, 3, 0x0F, 0x42, 0x40];
    const EIGHT_MILLION: [u8; 5] = [2, 3, 0x7F, 0xFF, 0xFF];
    let arguments = [
        "pkcs8",
        "-topk8",
        "-v2",
        "aes-256-cbc",
        "-outform",
        "DER",
        "-passout",
        PASS,
    ];
    let file = TestKey::of_app().convert(
        &[&arguments[..], &["-iter", "1000000"]].concat(),
        &stage.home.path("costly.key"),
    );
    let mut der = fs::read(&file).expect("openssl wrote it");
    let at = der.windows(MILLION.len()).position(|window| window == MILLION);
    let at = at.expect("openssl was asked for a million");
    der[at..at + EIGHT_MILLION.len()].copy_from_slice(&EIGHT_MILLION);
    fs::write(&file, der).expect("the home is writable");
    file
}

/// Two seconds of a processor and 512 MiB: the kernel ends a command that takes more.
const BOUNDED: &str = "ulimit -t 2; ulimit -v 524288; exec \"$0\" \"$@\"";

#[test]
fn what_would_take_long_or_much_memory_is_refused_at_once() {
    let stage = Stage::empty();
    let huge = stage.home.write("huge", "");
    let sparse = fs::File::options().write(true).open(&huge);
    sparse
        .and_then(|file| file.set_len(1 << 30))
        .expect("a sparse file of 1 GiB");
    let directory = stage.home.path("keys");
    fs::create_dir(&directory).expect("created");
    let costly = costly_key(&stage);
    let passphrase = shown(&stage.home.write("passphrase", PASSPHRASE));
    let program = shown(&binaries::built("sfkey"));
    for (path, told) in [
        (huge, "too large"),
        (directory, "is a directory"),
        (costly, "more work"),
        ("/dev/zero".into(), "neither a regular file nor a pipe"),
    ] {
        let shell = ["-c", BOUNDED, &program].map(str::to_owned);
        let line = shell
            .into_iter()
            .chain(add_line(&stage, ACCOUNT, &shown(&path)))
            .chain(["--passphrase-file".to_owned(), passphrase.clone()]);
        let (error, _) = Sfkey::program("/bin/sh".into(), &stage.home, line)
            .run()
            .failed(1);
        assert!(error.contains(told), "{error}");
    }
}
