//! Memory that was freed, given back to the system. It was wiped when it was freed.

#![expect(unsafe_code, reason = "the allocator of the C library is asked")]

/// Gives back what lies free in the heap. By itself glibc keeps whatever lies below a block in use, after a rush
/// for as long as the process lives.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time, from any thread, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
