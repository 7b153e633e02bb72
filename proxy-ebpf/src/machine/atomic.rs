//! What the target does in one step but the compiler's library does not offer (Linux 5.12,
//! <https://docs.kernel.org/bpf/standardization/instruction-set.html#atomic-operations>).

/// Puts `new` in the place of `old`. True if it did.
///
/// # Safety
/// `word` points to eight aligned bytes of a map's value.
#[inline(always)]
pub unsafe fn swap(word: *mut u64, old: u64, new: u64) -> bool {
    #[cfg(target_arch = "bpf")]
    {
        let seen: u64;
        // SAFETY: the caller's promise.
        unsafe {
            core::arch::asm!(
                "r0 = cmpxchg_64({word} + 0, r0, {new})",
                word = in(reg) word,
                new = in(reg) new,
                inlateout("r0") old => seen,
            );
        }
        seen == old
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        use core::sync::atomic::{AtomicU64, Ordering};
        // SAFETY: the caller's promise.
        let word = unsafe { AtomicU64::from_ptr(word) };
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Reads a word after all that was read before it, and before all that is read after it. Only processors of x86 do that by
/// themselves: others do it for an atomic operation that gives what there was
/// (<https://docs.kernel.org/6.12/core-api/wrappers/atomic_t.html#ordering>).
///
/// # Safety
/// `word` points to eight aligned bytes of a map's value.
#[inline(always)]
pub unsafe fn read(word: *mut u64) -> u64 {
    #[cfg(all(target_arch = "bpf", not(bpf_target_arch = "x86_64")))]
    // SAFETY: the caller's promise.
    unsafe {
        add(word, 0)
    }
    #[cfg(not(all(target_arch = "bpf", not(bpf_target_arch = "x86_64"))))]
    // SAFETY: the caller's promise.
    unsafe {
        core::ptr::read_volatile(word)
    }
}

/// Sets bits.
///
/// # Safety
/// `word` points to eight aligned bytes of a map's value.
#[inline(always)]
pub unsafe fn set(word: *mut u64, bits: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({word} + 0) |= {bits}",
            word = in(reg) word,
            bits = in(reg) bits,
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        use core::sync::atomic::{AtomicU64, Ordering};
        // SAFETY: the caller's promise.
        unsafe { AtomicU64::from_ptr(word) }.fetch_or(bits, Ordering::AcqRel);
    }
}

/// Adds to a word, and gives what it was.
///
/// # Safety
/// `word` points to eight aligned bytes of a map's value.
#[inline(always)]
pub unsafe fn add(word: *mut u64, number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = number;
        // SAFETY: the caller's promise.
        unsafe {
            core::arch::asm!(
                "{value} = atomic_fetch_add((u64 *)({word} + 0), {value})",
                word = in(reg) word,
                value = inout(reg) value,
            );
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        use core::sync::atomic::{AtomicU64, Ordering};
        // SAFETY: the caller's promise.
        unsafe { AtomicU64::from_ptr(word) }.fetch_add(number, Ordering::AcqRel)
    }
}
