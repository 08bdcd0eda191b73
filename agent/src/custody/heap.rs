//! Memory that was freed, given back to the system. It was wiped when it was freed.

#![expect(unsafe_code, reason = "the allocator of the C library is asked")]

/// Blocks of this size and more go back to the system as soon as they are freed, in bytes: glibc's own first value.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: std::ffi::c_int = 128 * 1024;

/// Keeps large blocks out of the heap for good. By itself glibc takes a block that was freed for a reason to keep the
/// next ones of its size in the heap: the 19 MiB of each derivation of the lock's key would stay, in the heap of each
/// thread that made one.
pub fn keep_large_blocks_out() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) sets a number; it is called before there is a second thread.
    unsafe {
        // It fails for numbers that are out of range only, and all that is lost is memory.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// Gives back what lies free in the heap. By itself glibc keeps whatever lies below a block in use, after a rush
/// for as long as the process lives.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time, from any thread, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
