//! The per-packet path: `tc` programs on pod interfaces, uplinks and `weir_host`, one file per hook, and what they share.

pub mod address;
pub mod allocate;
pub mod at_node;
pub mod begin;
pub mod deliver;
pub mod enter;
pub mod flow;
#[cfg(target_arch = "bpf")]
mod from_host;
#[cfg(target_arch = "bpf")]
mod from_net;
#[cfg(target_arch = "bpf")]
mod from_pod;
pub mod log;
pub mod new_flows;
pub mod next_hop;
pub mod node;
pub mod own;
pub mod packet;
pub mod parse;
pub mod policy;
pub mod reject;
pub mod rewrite;
pub mod route;
pub mod scratch;
pub mod service;
pub mod skb;
#[cfg(target_arch = "bpf")]
mod to_net;
#[cfg(target_arch = "bpf")]
mod to_pod;
pub mod unanswered;
pub mod verdict;
pub mod wire;

/// Ethernet type of IPv4, network order.
pub const ETH_IP: u16 = 0x0800_u16.to_be();
/// Ethernet type of IPv6, network order.
pub const ETH_IPV6: u16 = 0x86dd_u16.to_be();
