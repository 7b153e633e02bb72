//! Pods and an "Internet" that answers only the nodes' addresses, with real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod masquerade {
    mod bed;
    mod changes;
    mod much;
    mod reach;
    mod sources;
}
