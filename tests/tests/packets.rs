//! The per-packet path, packet by packet: every program, both families, verdict, bytes, flows.
//!
//! One module per subject; what all of them stand on is `weir_tests::packets`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "packets/checksums.rs"]
mod checksums;
#[path = "packets/direct.rs"]
mod direct;
#[path = "packets/fragments.rs"]
mod fragments;
#[path = "packets/frames.rs"]
mod frames;
#[path = "packets/from_host.rs"]
mod from_host;
#[path = "packets/host.rs"]
mod host;
#[path = "packets/host_port.rs"]
mod host_port;
#[path = "packets/icmp.rs"]
mod icmp;
#[path = "packets/life.rs"]
mod life;
#[path = "packets/load_balancer.rs"]
mod load_balancer;
#[path = "packets/maglev.rs"]
mod maglev;
#[path = "packets/malformed.rs"]
mod malformed;
#[path = "packets/masquerade.rs"]
mod masquerade;
#[path = "packets/neighbours.rs"]
mod neighbours;
#[path = "packets/next_hop.rs"]
mod next_hop;
#[path = "packets/node_port.rs"]
mod node_port;
#[path = "packets/one_port.rs"]
mod one_port;
#[path = "packets/options.rs"]
mod options;
#[path = "packets/owed.rs"]
mod owed;
#[path = "packets/pace.rs"]
mod pace;
#[path = "packets/padded.rs"]
mod padded;
#[path = "packets/policy.rs"]
mod policy;
#[path = "packets/refusal.rs"]
mod refusal;
#[path = "packets/relay.rs"]
mod relay;
#[path = "packets/relay_through.rs"]
mod relay_through;
#[path = "packets/room.rs"]
mod room;
#[path = "packets/sctp.rs"]
mod sctp;
#[path = "packets/service.rs"]
mod service;
#[path = "packets/sources.rs"]
mod sources;
#[path = "packets/vips.rs"]
mod vips;
#[path = "packets/wire.rs"]
mod wire;
