//! Inherited descriptors: whatever a careless parent left open is no business of a process that holds keys, and
//! what the service manager passed on purpose is taken over.

#![expect(
    unsafe_code,
    reason = "closing descriptors by number, and owning them by number"
)]

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

/// The first descriptor that a service manager passes (sd_listen_fds(3)).
const FIRST_PASSED: u32 = 3;

/// Closes every descriptor above standard error but the first `passed`. To be called before anything was opened.
///
/// A kernel before Linux 5.9 does not know close_range(2); there they stay open.
///
/// # Errors
/// When the kernel refuses.
#[cfg(target_os = "linux")]
pub fn close_inherited(passed: u32) -> io::Result<()> {
    // SAFETY: nothing in this process owns a descriptor above 2 yet, for this is called before the first
    // one is opened; so no owned descriptor is closed behind its owner's back.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST_PASSED + passed, u32::MAX, 0_u32) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            unknown if unknown.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            error => Err(error),
        },
    }
}

/// Not done on this system.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn close_inherited(_passed: u32) -> io::Result<()> {
    Ok(())
}

/// Owns the first `count` descriptors above standard error, which [`close_inherited`] left open; no child
/// inherits them. Can be called once.
///
/// # Errors
/// When one of them is not open, and at the second call.
pub fn take_passed(count: u32) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if count == 0 {
        return Ok(Vec::new());
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("they were taken over before"));
    }
    let mut owned = Vec::new();
    for number in FIRST_PASSED..FIRST_PASSED + count {
        let number = i32::try_from(number).map_err(io::Error::other)?;
        // SAFETY: fcntl(2) on a number that is not open fails with EBADF and does nothing else.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is open, as was just seen. Nothing else owns it: this process has opened nothing in its
        // place, for it was open from the start, and this function takes each number once.
        owned.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
    Ok(owned)
}
