//! `sfkey keygen`: what it makes is judged by openssl and by the simulator.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command},
};

use sfkey_tests::support::{Canaries, Home, Ran, Sfkey, StageSetup, Terminal, binaries, stage::ACCOUNT};

use crate::bench::{add_line, granted, run, shown, words};

const PASSPHRASE: &str = "correct horse battery staple";

/// Runs `openssl ARGUMENTS` in the home, and returns what it prints. It must succeed.
fn openssl(home: &Home, arguments: &str) -> String {
    let done = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(home.path("."))
        .output()
        .expect("openssl is installed");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {arguments}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned() + &said
}

fn keygen(home: &Home, more: &[&str]) -> Sfkey {
    let line = ["keygen", "--passphrase-file", "passphrase"];
    home.write("passphrase", format!("{PASSPHRASE}\n"));
    Sfkey::new(home, line.iter().chain(more).copied())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

/// What stands in the home beside the directories that every home has.
fn files(home: &Home) -> Vec<String> {
    let listed = fs::read_dir(home.path(".")).expect("a directory");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    let mut names: Vec<String> = listed.map(|entry| name(entry.expect("readable"))).collect();
    names.retain(|name| !["run", "config", "state", "passphrase"].contains(&name.as_str()));
    names.sort();
    names
}

#[test]
fn openssl_reads_the_key_and_the_certificate_of_every_length() {
    for bits in ["2048", "3072", "4096"] {
        let home = Home::new();
        let made = keygen(&home, &["--bits", bits, "--subject", "/C=DE/O=Acme, Inc/CN=ci"])
            .run()
            .done();
        let (key, certificate) = (home.path("server.key"), home.path("server.crt"));
        assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
        assert_eq!(files(&home), ["server.crt", "server.key"]);
        let checked = openssl(&home, "rsa -check -noout -in server.key -passin file:passphrase");
        assert!(checked.contains("RSA key ok"), "{checked}");
        let structure = openssl(&home, "asn1parse -in server.key");
        for part in ["PBES2", "PBKDF2", "hmacWithSHA256", "aes-256-cbc", "0927C0"] {
            assert!(structure.contains(part), "{part}: {structure}");
        }
        let text = openssl(&home, "x509 -in server.crt -noout -text -nameopt RFC2253");
        for part in [
            "Signature Algorithm: sha256WithRSAEncryption",
            &format!("Public-Key: ({bits} bit)"),
            "Issuer: CN=ci,O=Acme\\, Inc,C=DE",
            "Subject: CN=ci,O=Acme\\, Inc,C=DE",
            "CA:FALSE",
            "Digital Signature",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let verified = openssl(
            &home,
            "verify -x509_strict -check_ss_sig -partial_chain -trusted server.crt server.crt",
        );
        assert!(verified.contains("OK"), "{verified}");
        assert!(fs::metadata(&certificate).expect("there").len() < 4096);
        let public = openssl(&home, "pkey -in server.key -passin file:passphrase -pubout");
        assert_eq!(public, openssl(&home, "x509 -in server.crt -noout -pubkey"));
        openssl(
            &home,
            "pkey -in server.key -passin file:passphrase -pubout -outform DER -out public.der",
        );
        let fingerprint = openssl(&home, "dgst -sha256 -r public.der")[..64].to_owned();
        assert!(
            made.out().contains(&format!("SHA256 {fingerprint}")),
            "{}",
            made.out()
        );
    }
}

#[test]
fn a_certificate_is_good_for_a_year_or_as_long_as_told() {
    for (days, more) in [(365_i64, &[][..]), (30, &["--days", "30"])] {
        let home = Home::new();
        let made = keygen(&home, &[more, &["--json"]].concat()).run().done().json();
        let seconds = days * 86_400;
        // A day is more than a test takes.
        openssl(
            &home,
            &format!("x509 -noout -in server.crt -checkend {}", seconds - 86_400),
        );
        let ends = Command::new("openssl")
            .args([
                "x509",
                "-noout",
                "-in",
                "server.crt",
                "-checkend",
                &(seconds + 60).to_string(),
            ])
            .current_dir(home.path("."))
            .output()
            .expect("openssl is installed");
        assert!(!ends.status.success(), "it ends after {days} days");
        let not_after = openssl(&home, "x509 -noout -in server.crt -enddate -dateopt iso_8601");
        let told = iso_8601(made["not_after"].as_i64().expect("a time"));
        assert!(not_after.contains(&told), "{not_after} {told}");
    }
    let home = Home::new();
    for days in ["0", "7301", "x"] {
        let (error, _) = keygen(&home, &["--days", days]).run().failed(2);
        assert!(error.contains("--days"), "{error}");
    }
    assert_eq!(files(&home), [""; 0]);
}

/// A time as openssl writes it.
fn iso_8601(seconds: i64) -> String {
    let told = Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%d %H:%M:%SZ"])
        .output()
        .expect("date is there");
    String::from_utf8(told.stdout)
        .expect("ASCII")
        .trim_end()
        .to_owned()
}

#[test]
fn openssl_verifies_the_request_for_a_certificate() {
    let home = Home::new();
    let made = keygen(&home, &["--csr", "--subject", "CN=ci,O=Acme", "--json"])
        .run()
        .done()
        .json();
    assert_eq!(files(&home), ["server.csr", "server.key"]);
    assert_eq!(mode(&home.path("server.csr")), 0o644);
    let text = openssl(&home, "req -verify -noout -text -in server.csr -nameopt RFC2253");
    assert!(text.contains("verify OK"), "{text}");
    assert!(text.contains("Subject: CN=ci,O=Acme"), "{text}");
    let public = openssl(&home, "pkey -in server.key -passin file:passphrase -pubout");
    assert!(text.contains("sha256WithRSAEncryption"), "{text}");
    assert_eq!(public, openssl(&home, "req -in server.csr -noout -pubkey"));
    assert_eq!(
        made["request"],
        shown(&home.path("server.csr")).replace("/./", "/")
    );
    assert!(made["certificate"].is_null() && made["not_after"].is_null());
}

#[test]
fn a_key_that_was_made_here_gets_tokens() {
    let home = Home::new();
    let _made = keygen(&home, &[]).run().done();
    let certificate = fs::read_to_string(home.path("server.crt")).expect("made");
    let key = shown(&home.path("server.key"));
    let passphrase = shown(&home.path("passphrase"));
    let stage = StageSetup::default()
        .config(|config| config.apps[0].certificate = Some(certificate))
        .empty();
    let mut line = add_line(&stage, ACCOUNT, &key);
    line.extend(words(&["--passphrase-file", &passphrase]));
    let _added = stage.sfkey(line).run().done();
    assert_eq!(run(&stage, &["token"]).done().out().trim_end(), granted(&stage));
}

#[test]
fn nothing_is_written_over_and_nobody_is_asked_before() {
    for present in ["server.key", "server.crt"] {
        let home = Home::new();
        home.write(present, "mine");
        let (error, fix) = keygen(&home, &[]).run().failed(1);
        assert!(error.contains(present) && error.contains("exists"), "{error}");
        assert!(fix.contains("--out"), "{fix}");
        assert_eq!(files(&home), [present]);
        assert_eq!(fs::read(home.path(present)).expect("there"), b"mine");
    }
    let home = Home::new();
    std::os::unix::fs::symlink("/nowhere", home.path("server.key")).expect("linked");
    let (error, _) = keygen(&home, &[]).run().failed(1);
    assert!(error.contains("exists"), "{error}");
}

#[test]
fn of_several_at_the_same_time_one_makes_both_files() {
    let home = Home::new();
    let started: Vec<Child> = (0..4).map(|_| keygen(&home, &["--json"]).start()).collect();
    let ran: Vec<Ran> = started.into_iter().map(Ran::of).collect();
    let done: Vec<&Ran> = ran.iter().filter(|ran| ran.code == 0).collect();
    let [done] = done.as_slice() else {
        panic!("{ran:?}")
    };
    assert_eq!(files(&home), ["server.crt", "server.key"]);
    let public = openssl(&home, "pkey -in server.key -passin file:passphrase -pubout");
    assert_eq!(public, openssl(&home, "x509 -in server.crt -noout -pubkey"));
    openssl(
        &home,
        "pkey -in server.key -passin file:passphrase -pubout -outform DER -out public.der",
    );
    let fingerprint = openssl(&home, "dgst -sha256 -r public.der")[..64].to_owned();
    assert_eq!(done.json()["key_fingerprint"], fingerprint);
}

#[test]
fn whatever_ends_it_leaves_no_half_of_a_file() {
    let home = Home::new();
    home.write("passphrase", PASSPHRASE);
    let program = shown(&binaries::built("sfkey"));
    let line = format!("{program} keygen --passphrase-file passphrase");
    let shell = |script: &str| Sfkey::program("/bin/sh".into(), &home, ["-c", script]).run();
    // The first byte that is written ends the process with SIGXFSZ, which whoever runs this may have ignored.
    let ran = shell(&format!("ulimit -f 0; exec env --default-signal=XFSZ {line}"));
    assert_eq!(ran.code, 128 + 25, "{ran:?}");
    assert_eq!(files(&home), [""; 0]);
    let (error, _) = shell(&format!("trap '' XFSZ; ulimit -f 0; exec {line}")).failed(1);
    assert!(
        error.contains("server.key cannot be written: File too large"),
        "{error}"
    );
    assert_eq!(files(&home), [""; 0]);
}

#[test]
fn the_files_have_their_modes_whatever_the_umask() {
    for umask in ["000", "077"] {
        let home = Home::new();
        let program = shown(&binaries::built("sfkey"));
        let script = format!("umask {umask}; exec {program} keygen --no-passphrase");
        let ran = Sfkey::program("/bin/sh".into(), &home, ["-c", &script])
            .run()
            .done();
        assert!(ran.out().contains("NOT encrypted"), "{}", ran.out());
        assert_eq!(
            (mode(&home.path("server.key")), mode(&home.path("server.crt"))),
            (0o600, 0o644)
        );
        assert!(openssl(&home, "rsa -check -noout -in server.key").contains("RSA key ok"));
    }
}

#[test]
fn without_a_terminal_a_key_without_passphrase_must_be_asked_for_by_name() {
    let home = Home::new();
    let program = shown(&binaries::built("sfkey"));
    let line = ["--wait", &program, "keygen"];
    let (_, fix) = Sfkey::program("/usr/bin/setsid".into(), &home, line)
        .run()
        .failed(1);
    assert!(
        fix.contains("--passphrase-file") && fix.contains("--no-passphrase"),
        "{fix}"
    );
    home.write("empty", "\n");
    let (error, _) = Sfkey::new(&home, ["keygen", "--passphrase-file", "empty"])
        .run()
        .failed(1);
    assert!(error.contains("empty"), "{error}");
    assert_eq!(files(&home), ["empty"]);
}

#[test]
fn a_passphrase_is_asked_for_twice_its_strength_is_told_and_it_is_not_shown() {
    let home = Home::new();
    let mut terminal = Terminal::open();
    let child = terminal.sfkey(&home, &words(&["keygen"])).start();
    terminal.wait_for_next("New passphrase for the new key: ");
    terminal.type_in("hunter2\n");
    terminal.wait_for_next("Strength: weak.");
    terminal.wait_for_next("The same again: ");
    terminal.type_in("hunter3\n");
    terminal.wait_for_next("The two differ.");
    terminal.wait_for_next("New passphrase for the new key: ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.wait_for_next("Strength: strong.");
    terminal.wait_for_next("The same again: ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    let made = Ran::of(child).done();
    let shown = terminal.shown_to_the_end();
    let canaries = Canaries::new().and("passphrase", PASSPHRASE);
    canaries.hunt([("terminal", shown.as_bytes()), ("output", &made.stdout)]);
    home.write("passphrase", PASSPHRASE);
    let checked = openssl(&home, "rsa -check -noout -in server.key -passin file:passphrase");
    assert!(checked.contains("RSA key ok"), "{checked}");
}

#[test]
fn control_c_at_the_passphrase_leaves_nothing() {
    let home = Home::new();
    let mut terminal = Terminal::open();
    let child = terminal.sfkey(&home, &words(&["keygen"])).start();
    terminal.wait_for("New passphrase");
    terminal.wait_for(": ");
    terminal.type_in("half\u{3}");
    assert_eq!(Ran::of(child).code, 130);
    assert_eq!(files(&home), [""; 0]);
}

#[test]
fn a_new_certificate_for_the_same_key_leaves_the_key_alone() {
    let home = Home::new();
    let _made = keygen(&home, &[]).run().done();
    let key = fs::read(home.path("server.key")).expect("made");
    let (error, _) = keygen(&home, &["--key", "server.key"]).run().failed(1);
    assert!(error.contains("server.crt exists"), "{error}");
    let renewed = keygen(
        &home,
        &["--key", "server.key", "--out", "next.crt", "--days", "700"],
    )
    .run()
    .done();
    assert!(
        renewed
            .out()
            .starts_with("Certificate  next.crt (CN=sfkey, good until "),
        "{}",
        renewed.out()
    );
    let public = openssl(&home, "x509 -in server.crt -noout -pubkey");
    assert_eq!(public, openssl(&home, "x509 -in next.crt -noout -pubkey"));
    let serial = |file: &str| openssl(&home, &format!("x509 -in {file} -noout -serial"));
    assert_ne!(serial("server.crt"), serial("next.crt"));
    assert_eq!(fs::read(home.path("server.key")).expect("there"), key);
    let _request = keygen(&home, &["--key", "server.key", "--csr"]).run().done();
    assert!(openssl(&home, "req -verify -noout -in server.csr").contains("verify OK"));
}

#[test]
fn a_place_that_takes_no_files_is_told_in_two_lines() {
    let home = Home::new();
    for (out, what, fix) in [
        (
            "missing/server.key",
            "No such file or directory",
            "mkdir -p missing",
        ),
        (
            "server.crt",
            "no name for the file of a private key",
            "--out server.key",
        ),
        ("passphrase/x.key", "Not a directory", "--out"),
        ("/proc/server.key", "cannot be written", "--out FILE"),
    ] {
        let (error, next) = keygen(&home, &["--out", out])
            .run()
            .failed(if out == "server.crt" { 2 } else { 1 });
        assert!(error.contains(what), "{error}");
        assert!(next.contains(fix), "{next}");
    }
    let (error, _) = keygen(&home, &["--subject", "nobody"]).run().failed(2);
    assert!(error.contains("/CN=sfkey/O=Acme"), "{error}");
    let long = format!("/CN={}", "x".repeat(4000));
    let (error, _) = keygen(&home, &["--subject", &long]).run().failed(2);
    assert!(error.contains("4 KB"), "{error}");
    assert_eq!(files(&home), [""; 0]);
}

#[test]
fn neither_an_agent_nor_a_home_is_needed() {
    let home = Home::new();
    let made = Sfkey::new(&home, ["keygen", "--no-passphrase", "--out", "k.key", "--json"])
        .variable("HOME", "")
        .run()
        .done()
        .json();
    assert_eq!(
        (made["encrypted"].as_bool(), made["bits"].as_u64()),
        (Some(false), Some(2048))
    );
    assert_eq!(files(&home), ["k.crt", "k.key"]);
}
