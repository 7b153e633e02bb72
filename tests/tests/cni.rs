//! The CNI plugin as a black box: what a runtime gives it, what it gives back, what it leaves in the kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cni {
    mod add;
    mod agent;
    mod check;
    mod crash;
    mod del;
    mod errors;
    mod garbage;
    mod gc;
    mod loopback;
}
