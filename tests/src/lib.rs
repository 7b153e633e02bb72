//! What Weir's tests on a real kernel stand on; the demo and the benches use the same fixtures.
//!
//! `world` makes nodes and pods out of namespaces, `load` makes traffic in them, `controlplane` runs a real
//! API server.

pub mod controlplane;
pub mod load;
pub mod world;
