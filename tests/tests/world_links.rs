//! Nodes with more than one link to the world, of every kind that this kernel has: each serves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod links {
    mod advertisements;
    mod bare;
    mod down;
    mod kinds;
    mod lab;
    mod live;
    mod local;
    mod nics;
    mod ports;
    mod reach;
    mod sources;
}
