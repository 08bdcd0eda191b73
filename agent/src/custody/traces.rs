//! What a call leaves behind: on the stack below it, and in the vector registers of its thread.
//!
//! A cipher keeps its key on the stack, and copying goes through vector registers. Neither is wiped when a
//! function returns, and a thread that then sleeps keeps both for as long as it sleeps: memory read from
//! outside shows the one, a core dump the other.

#![expect(unsafe_code, reason = "no safe function clears a register")]

use std::hint::black_box;

use zeroize::Zeroize;

/// Depth of the stack that is wiped, in words of 8 bytes: 32 KiB. The deepest call below custody, an RSA
/// signature, was measured to need less than half of it.
const DEPTH: usize = 4 * 1024;

/// Does `work`, and wipes what it left behind, but for what it returns.
pub(super) fn without_traces<T>(work: impl FnOnce() -> T) -> T {
    let done = apart(work);
    wipe_stack();
    wipe_registers();
    done
}

/// A frame of its own, which is gone when the stack is wiped.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe_stack() {
    let mut below = [0_u64; DEPTH];
    below.zeroize();
    black_box(&below);
}

#[cfg(not(target_arch = "x86_64"))]
fn wipe_registers() {}

#[cfg(target_arch = "x86_64")]
fn wipe_registers() {
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX.
        unsafe { std::arch::x86_64::_mm256_zeroall() };
    }
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512.
        unsafe { wipe_upper_registers() };
    }
}

/// The sixteen registers that AVX-512 added, which `vzeroall` leaves as they are.
///
/// # Safety
/// The processor must have AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
unsafe fn wipe_upper_registers() {
    // SAFETY: the registers are declared as overwritten, and nothing else is touched.
    unsafe {
        std::arch::asm!(
            "vpxorq zmm16, zmm16, zmm16",
            "vpxorq zmm17, zmm17, zmm17",
            "vpxorq zmm18, zmm18, zmm18",
            "vpxorq zmm19, zmm19, zmm19",
            "vpxorq zmm20, zmm20, zmm20",
            "vpxorq zmm21, zmm21, zmm21",
            "vpxorq zmm22, zmm22, zmm22",
            "vpxorq zmm23, zmm23, zmm23",
            "vpxorq zmm24, zmm24, zmm24",
            "vpxorq zmm25, zmm25, zmm25",
            "vpxorq zmm26, zmm26, zmm26",
            "vpxorq zmm27, zmm27, zmm27",
            "vpxorq zmm28, zmm28, zmm28",
            "vpxorq zmm29, zmm29, zmm29",
            "vpxorq zmm30, zmm30, zmm30",
            "vpxorq zmm31, zmm31, zmm31",
            out("xmm16") _, out("xmm17") _, out("xmm18") _, out("xmm19") _,
            out("xmm20") _, out("xmm21") _, out("xmm22") _, out("xmm23") _,
            out("xmm24") _, out("xmm25") _, out("xmm26") _, out("xmm27") _,
            out("xmm28") _, out("xmm29") _, out("xmm30") _, out("xmm31") _,
            options(nomem, nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_and_its_result_survives() {
        assert_eq!(without_traces(|| vec![7_u8; 64]), [7; 64]);
    }
}
