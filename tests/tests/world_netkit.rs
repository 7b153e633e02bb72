//! Pods whose interfaces are netkit pairs, between real sockets; on a kernel that has none, that these have the others and that it
//! is said. `cargo xtask kernels` runs these on kernels that have it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod netkit {
    mod bed;
    mod kinds;
    mod reach;
}
