//! Nodes behind routers that know no pods: what goes between them goes by the tunnel, with real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tunnel {
    mod bed;
    mod changes;
    mod forged;
    mod reach;
    mod services;
}
