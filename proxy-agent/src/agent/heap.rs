//! The agent's heap.

/// Gives free pages back to the kernel. What a list or a full comparison needs for a moment is a multiple of
/// what stays, and glibc keeps it: freed memory below something that lives, and at the top as much as was once
/// freed in one piece (`M_TRIM_THRESHOLD` grows by itself, mallopt(3)).
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer; safe to call from any thread at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
