//! What Weir's tests on a real kernel stand on.
//!
//! `world` makes nodes and pods out of namespaces, `controlplane` runs a real API server, `policy` judges policy
//! without Weir.

#![expect(
    clippy::unwrap_used,
    reason = "test support: what fails here fails the test"
)]

pub mod carried;
pub mod cni;
pub mod containerd;
pub mod controlplane;
pub mod datapath;
pub mod devices;
pub mod family;
pub mod flood;
pub mod flow_table;
pub mod frames;
pub mod heap;
pub mod inside;
pub mod killed;
pub mod length;
pub mod link;
pub mod modes;
pub mod older;
pub mod packets;
pub mod policy;
pub mod pty;
pub mod reference;
pub mod served;
pub mod short;
pub mod thread_calls;
pub mod told;
pub mod traffic;
pub mod vxlan;
pub mod watched;
pub mod wire;

pub use weir_world as world;
