//! Inherited descriptors: whatever a careless parent left open is no business of a process that holds keys.

#![expect(unsafe_code, reason = "closing descriptors by number")]

/// Closes every descriptor above standard error. To be called before anything was opened.
///
/// A kernel before Linux 5.9 does not know close_range(2); there they stay open.
///
/// # Errors
/// When the kernel refuses.
#[cfg(target_os = "linux")]
pub fn close_inherited() -> std::io::Result<()> {
    // SAFETY: nothing in this process owns a descriptor above 2 yet, for this is called before the first
    // one is opened; so no owned descriptor is closed behind its owner's back.
    match unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) } {
        0 => Ok(()),
        _ => match std::io::Error::last_os_error() {
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
pub fn close_inherited() -> std::io::Result<()> {
    Ok(())
}
