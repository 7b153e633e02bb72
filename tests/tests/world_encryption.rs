//! Nodes that hide from the network what their pods say: WireGuard between them, with real sockets. A kernel that has none must be
//! told clearly; `cargo xtask kernels` runs these on kernels that have it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod encryption {
    mod bed;
    mod changes;
    mod device;
    mod reach;
    mod strict;
    mod unable;
    mod watch;
}
