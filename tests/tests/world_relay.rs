//! What comes from outside for a backend on another node, relayed to it as it is: direct server return, and by the tunnel both
//! ways, with real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod relay {
    mod ask;
    mod bed;
    mod forged;
    mod moves;
    mod policy;
    mod wire;
}
