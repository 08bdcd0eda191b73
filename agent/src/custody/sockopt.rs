//! What the kernel knows of the process at the other end of a Unix socket, beyond what rustix asks for.

#![expect(unsafe_code, reason = "getsockopt(2) by number")]

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

/// A descriptor of the process that connected, whatever becomes of its number (SO_PEERPIDFD, Linux 6.5).
///
/// # Errors
/// When the kernel does not know the option, or the process has ended already.
#[cfg(target_os = "linux")]
pub fn peer_process(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::os::fd::{AsRawFd, FromRawFd};

    let mut descriptor: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four fits");
    // SAFETY: the kernel writes at most `length` bytes, which is the size of what the pointer points to, and
    // both live until the call returns.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            (&raw mut descriptor).cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if descriptor < 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    // SAFETY: the kernel has just made this descriptor for this process, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The supplementary groups of the process that connected, as they were then (SO_PEERGROUPS, Linux 4.13).
///
/// # Errors
/// When the kernel does not know the option.
#[cfg(target_os = "linux")]
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    use std::os::fd::AsRawFd;

    // Of the 65,536 groups that a process may have, few have more than this; the kernel tells if more are needed.
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let bytes = groups.len() * size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` bytes, which is the size of the vector's elements, and
        // any bits are a valid gid_t.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<libc::gid_t>();
        if done == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                groups.resize(count, 0);
            }
            error => return Err(error),
        }
    }
}

/// Not known on this system.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn peer_process(_: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Not known on this system.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn peer_groups(_: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
