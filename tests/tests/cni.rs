//! The CNI plugin as a black box: what a runtime gives it, what it gives back, what it leaves in the kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cni {
    mod add;
    mod agent;
    mod away;
    mod check;
    mod collector;
    mod crash;
    mod del;
    mod devices;
    mod errors;
    mod garbage;
    mod gc;
    mod interfaces;
    mod killed;
    mod lists;
    mod log;
    mod loopback;
    mod lost;
    mod names;
    mod occupied;
    mod orphan;
    mod storm;
}
