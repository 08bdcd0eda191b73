//! Whatever a path names, reading it ends soon and takes little.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use base64ct::{Base64, Encoding};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sfkey::keyfile::{KeyFile, KeyFileError, readable_by_others};
use tempfile::TempDir;

use crate::{
    hostile::{LONG, promptly},
    material::RSA,
};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

fn fifo(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can be made");
    path
}

/// Why the path is no key file. Reads on a thread of its own, so that a read that hangs fails the test.
fn refusal(path: &Path) -> KeyFileError {
    let path = path.to_owned();
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(KeyFile::read(&path).err()));
    let error = result.recv_timeout(LONG).expect("reading ends in time");
    error.expect("this is no key file")
}

#[test]
fn a_key_file_is_read_through_its_path_and_through_a_link() {
    let dir = dir();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(RSA.path("key.pem"), &link).expect("a link can be made");
    assert!(KeyFile::read(&link).is_ok_and(|file| !file.needs_passphrase()));
    assert!(KeyFile::from_reader(&RSA.pem()[..]).is_ok());
}

#[test]
fn paths_that_name_no_file_are_refused() {
    let dir = dir();
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).expect("a socket can be made");
    assert_eq!(refusal(dir.path()), KeyFileError::Directory);
    assert_eq!(refusal(&dir.path().join("nothing")), KeyFileError::NotFound);
    assert!(matches!(
        refusal(&socket),
        KeyFileError::Io(_) | KeyFileError::NotAFile
    ));
    for device in ["/dev/zero", "/dev/null", "/dev/urandom", "/dev/full"] {
        assert_eq!(refusal(Path::new(device)), KeyFileError::NotAFile, "{device}");
    }
}

#[test]
fn a_huge_file_and_an_endless_stream_are_refused_without_being_read() {
    let dir = dir();
    let path = dir.path().join("huge");
    File::create(&path)
        .and_then(|file| file.set_len(1 << 30))
        .expect("a sparse file can be made");
    assert_eq!(refusal(&path), KeyFileError::TooLarge);
    let endless = promptly(|| KeyFile::from_reader(std::io::repeat(b'A')));
    assert_eq!(endless.err(), Some(KeyFileError::TooLarge));
}

#[test]
fn a_pipe_without_a_writer_does_not_hang() {
    assert_eq!(refusal(&fifo(&dir())), KeyFileError::Empty);
}

#[test]
fn a_pipe_is_read_until_its_writer_ends() {
    let (reader, mut writer) = io::pipe().expect("a pipe can be made");
    // As the shell gives it for `<(command)`.
    let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
    // Longer than a pipe holds, so that reader and writer have to wait for each other; the key comes last.
    let text = " ".repeat(200_000) + &Base64::encode_string(&RSA.pkcs1_der());
    thread::scope(|scope| {
        let file = scope.spawn(|| promptly(|| KeyFile::read(&path)));
        writer.write_all(text.as_bytes()).expect("the reader reads");
        drop(writer);
        let file = file.join().expect("the reader ends");
        assert_eq!(file.map(|file| file.needs_passphrase()), Ok(false));
    });
}

#[test]
fn a_pipe_that_stays_silent_is_given_up() {
    let dir = dir();
    let path = fifo(&dir);
    let _writer = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("a pipe can be opened");
    assert_eq!(refusal(&path), KeyFileError::SilentPipe);
}

#[test]
fn a_file_that_others_may_read_is_noticed() {
    let dir = dir();
    let path = dir.path().join("server.key");
    fs::write(&path, RSA.pem()).expect("the directory is writable");
    for (mode, expected) in [
        (0o600, None),
        (0o400, None),
        (0o640, Some(0o640)),
        (0o644, Some(0o644)),
        (0o604, Some(0o604)),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is our file");
        assert_eq!(readable_by_others(&path), expected, "{mode:o}");
    }
    assert_eq!(readable_by_others(dir.path()), None);
    assert_eq!(readable_by_others(&dir.path().join("nothing")), None);
}
