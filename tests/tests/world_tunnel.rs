//! Nodes behind routers that know no pods: what goes between them goes by the tunnel, with real sockets. Nodes on one link that change, go
//! and come back, by the tunnel and directly.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tunnel {
    mod bed;
    mod changes;
    mod conflicts;
    mod forged;
    mod narrow;
    mod nodes;
    mod reach;
    mod rolling;
    mod services;
    mod settings;
}
