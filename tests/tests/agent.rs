//! The agent as a process on a node, fed from a folder of manifests: real programs, real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent {
    mod configuration;
    mod datagrams;
    mod drift;
    mod families;
    mod fixture;
    mod flows;
    mod frozen;
    mod health;
    mod ids;
    mod metrics_tls;
    mod names;
    mod peers;
    mod preflight;
    mod records;
    mod restart;
    mod second;
    mod serving;
    mod unhealthy;
    mod unreachable;
    mod vanished;
    mod watched;
}
