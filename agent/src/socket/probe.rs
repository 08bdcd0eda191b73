//! Who listens at a path, without asking anything of whoever it is.

use std::{io, path::Path};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
        sockopt::socket_peercred,
    },
};

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A process of this user; below `/run` root's too, for there it is the service manager.
    Own,
    /// Another user's process.
    Foreign,
    /// Nobody: the path is left over from somebody who has ended.
    Nobody,
    /// There is no such path.
    NoPath,
}

/// Connects and hangs up again, which does not wait: a queue that is full has somebody behind it.
///
/// # Errors
/// When connecting fails in a way that tells nothing.
pub fn who_listens(path: &Path, owner: u32) -> io::Result<Listener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Ok(Listener::Own),
        Err(Errno::CONNREFUSED) => return Ok(Listener::Nobody),
        Err(Errno::NOENT) => return Ok(Listener::NoPath),
        Err(error) => return Err(error.into()),
    }
    let uid = socket_peercred(&socket)?.uid.as_raw();
    let own = uid == owner || (uid == 0 && path.starts_with("/run"));
    Ok(if own { Listener::Own } else { Listener::Foreign })
}
