//! The agent's heap: glibc's allocator is told to keep little for itself.
#![expect(unsafe_code, reason = "settings of the allocator have no safe wrapper")]

/// Bytes from which on an allocation is mapped by itself, and so goes back to the kernel when it is freed.
#[cfg(target_env = "gnu")]
const MAPPED_FROM: libc::c_int = 64 << 10;
/// Free bytes at the heap's end that go back to the kernel.
#[cfg(target_env = "gnu")]
const TRIMMED_FROM: libc::c_int = 128 << 10;

/// To be called before there are threads. They share one arena: with one each, what the reading of a list
/// leaves free in the one is of no use to the others (10 000 Services take half as much again). The
/// thresholds, once set, do not grow by themselves any more (mallopt(3)).
pub fn configure() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, MAPPED_FROM),
        (libc::M_TRIM_THRESHOLD, TRIMMED_FROM),
    ] {
        // SAFETY: takes no pointer; no other thread allocates yet.
        let accepted = unsafe { libc::mallopt(setting, value) };
        if accepted == 0 {
            tracing::debug!(setting, value, "the allocator refuses a setting");
        }
    }
}

/// Gives free pages back to the kernel: what a list or a full comparison needs for a moment is a multiple of
/// what stays.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer; safe to call from any thread at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
