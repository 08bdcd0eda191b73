//! One page of memory that is kept out of swap, dumps and other processes' reach, for the master secret.

#![expect(
    unsafe_code,
    reason = "mapping memory needs it; nothing outside custody has any"
)]

use std::{io, ptr::NonNull};

use aws_lc_rs::rand;
use sfkey_proto::v1::MemoryProtection;
use zeroize::Zeroize;

/// Length of the master secret in bytes: a ChaCha20-Poly1305 key (RFC 8439).
pub(super) const SECRET_BYTES: usize = 32;

/// The master secret in a page of its own. Wiped on drop; never `Clone`, never shown.
pub(super) struct SecretPage {
    start: NonNull<u8>,
    length: usize,
    protection: MemoryProtection,
}

// SAFETY: the page is owned by this value alone, and is written only in `new` and `drop`.
unsafe impl Send for SecretPage {}
// SAFETY: once made, the page is only read until it is dropped, so shared references may cross threads.
unsafe impl Sync for SecretPage {}

impl SecretPage {
    /// Maps a page at the best level that the system grants and fills it with random bytes.
    pub(super) fn random() -> io::Result<Self> {
        let mut page = Self::map()?;
        rand::fill(page.bytes_mut()).map_err(|_| io::Error::other("the system's random source failed"))?;
        Ok(page)
    }

    /// Maps a page at the best level that the system grants for a secret that there is already.
    pub(super) fn holding(secret: &[u8; SECRET_BYTES]) -> io::Result<Self> {
        let mut page = Self::map()?;
        page.bytes_mut().copy_from_slice(secret);
        Ok(page)
    }

    fn map() -> io::Result<Self> {
        Self::map_secret().or_else(|_| Self::map_locked())
    }

    /// What the system granted.
    pub(super) fn protection(&self) -> MemoryProtection {
        self.protection
    }

    /// The secret. The reference must not be copied from, but by the cipher.
    pub(super) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        // SAFETY: the mapping is at least one page, readable, aligned and initialised (zero-filled by the
        // kernel), lives as long as `self`, and is not written while `self` is borrowed.
        unsafe { self.start.cast::<[u8; SECRET_BYTES]>().as_ref() }
    }

    fn bytes_mut(&mut self) -> &mut [u8; SECRET_BYTES] {
        // SAFETY: as in `bytes`, and `&mut self` makes this the only view.
        unsafe { self.start.cast::<[u8; SECRET_BYTES]>().as_mut() }
    }

    /// memfd_secret(2), Linux 5.14 and later, on by default since 6.5: the pages leave the kernel's direct
    /// map, so that not even root reads them through /proc, and they are never swapped or dumped.
    #[cfg(target_os = "linux")]
    fn map_secret() -> io::Result<Self> {
        use std::os::fd::{FromRawFd, OwnedFd};

        // SAFETY: memfd_secret takes one flags argument and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd)
            .ok()
            .filter(|fd| *fd >= 0)
            .ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the descriptor is new and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let length = rustix::param::page_size();
        rustix::fs::ftruncate(&fd, length as u64)?;
        // SAFETY: a null hint makes the kernel choose a free range; `fd` has the length just set.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
                &fd,
                0,
            )?
        };
        let page = Self::own(start, length, MemoryProtection::MemfdSecret);
        // A forked child must not inherit the mapping. WIPEONFORK is refused for shared mappings.
        page.advise(rustix::mm::Advice::LinuxDontFork)?;
        Ok(page)
    }

    #[cfg(not(target_os = "linux"))]
    fn map_secret() -> io::Result<Self> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// An anonymous page, locked if RLIMIT_MEMLOCK allows, left out of dumps and wiped on fork.
    fn map_locked() -> io::Result<Self> {
        let length = rustix::param::page_size();
        // SAFETY: a null hint makes the kernel choose a free range.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                length,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::PRIVATE,
            )?
        };
        let mut page = Self::own(start, length, MemoryProtection::None);
        // SAFETY: the range is the mapping just made.
        let locked = unsafe { rustix::mm::mlock(start, length) };
        if locked.is_ok() && page.keep_from_dumps_and_forks().is_ok() {
            page.protection = MemoryProtection::Mlock;
        }
        Ok(page)
    }

    #[cfg(target_os = "linux")]
    fn keep_from_dumps_and_forks(&self) -> io::Result<()> {
        self.advise(rustix::mm::Advice::LinuxDontDump)?;
        self.advise(rustix::mm::Advice::LinuxWipeOnFork)
    }

    #[cfg(not(target_os = "linux"))]
    fn keep_from_dumps_and_forks(&self) -> io::Result<()> {
        Ok(())
    }

    fn own(start: *mut std::ffi::c_void, length: usize, protection: MemoryProtection) -> Self {
        let start = NonNull::new(start.cast()).expect("mmap returns an error, never null");
        Self {
            start,
            length,
            protection,
        }
    }

    #[cfg(target_os = "linux")]
    fn advise(&self, advice: rustix::mm::Advice) -> io::Result<()> {
        // SAFETY: the range is this value's own mapping, and no advice used here changes its content
        // in this process.
        unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.length, advice) }?;
        Ok(())
    }
}

impl Drop for SecretPage {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: the range was mapped by this value, and nothing borrows it any more. An error would leave
        // a wiped page mapped, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pages_hold_different_secrets() {
        let (one, two) = (
            SecretPage::random().expect("a page"),
            SecretPage::random().expect("a page"),
        );
        assert_ne!(one.bytes(), two.bytes());
        assert_ne!(one.bytes(), &[0; SECRET_BYTES]);
    }

    #[test]
    fn the_locked_page_serves_where_there_is_no_memfd_secret() {
        let mut page = SecretPage::map_locked().expect("a page");
        page.bytes_mut().fill(7);
        assert_eq!(page.bytes(), &[7; SECRET_BYTES]);
    }
}
