//! Keeps a pod's namespaces: waits for the end, and lets orphans be reaped.

use core::ffi::c_int;

const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
const SIGCHLD: c_int = 17;
const SIG_IGN: usize = 1;

unsafe extern "C" {
    fn signal(number: c_int, handler: usize) -> usize;
    fn pause() -> c_int;
    fn _exit(code: c_int) -> !;
}

extern "C" fn end(_number: c_int) {
    // SAFETY: _exit is async-signal-safe.
    unsafe { _exit(0) }
}

fn main() {
    // The first process of a namespace gets no default action for signals, so each needs a handler.
    let end = end as extern "C" fn(c_int) as usize;
    // SAFETY: the handler calls nothing but _exit; an ignored SIGCHLD makes the kernel reap.
    unsafe {
        signal(SIGINT, end);
        signal(SIGTERM, end);
        signal(SIGCHLD, SIG_IGN);
    }
    loop {
        // SAFETY: pause has no preconditions.
        unsafe {
            pause();
        }
    }
}
