//! The pair of devices by which the host's own packets to Services come to a program: `weir_host`, with the routes
//! to Services, and `weir_net`, which only is its other end.
//!
//! Numbers on which program and agent agree; they stand in no map.

use crate::address::{Address4, Address6, address4, address6};

/// Name of the side with the routes.
pub const HOST_DEVICE: &str = "weir_host";
/// Name of the other side.
pub const HOST_DEVICE_PEER: &str = "weir_net";

/// Hardware address of `weir_host`, also that of every neighbour there: what no program takes is for nobody at the
/// other end, so that nothing goes round in circles.
pub const HOST_DEVICE_MAC: [u8; 6] = [0x02, b'W', b'e', b'i', b'r', 0x01];
/// Hardware address of `weir_net`.
pub const HOST_DEVICE_PEER_MAC: [u8; 6] = [0x02, b'W', b'e', b'i', b'r', 0x02];
/// IPv4 gateway of the routes to Services, and source of what the host sends to a backend on itself: answers to it
/// come back by `weir_host`. Nobody has it.
pub const HOST_PEER_IPV4: [u8; 4] = [169, 254, 87, 2];
/// As [`HOST_PEER_IPV4`]: `fd57:6569:7200::2`.
pub const HOST_PEER_IPV6: [u8; 16] = [
    0xfd, b'W', b'e', b'i', b'r', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
];

/// [`HOST_PEER_IPV4`] in map form.
pub const HOST_PEER4: Address4 = address4(HOST_PEER_IPV4);
/// [`HOST_PEER_IPV6`] in map form.
pub const HOST_PEER6: Address6 = address6(HOST_PEER_IPV6);

/// IPv4 gateway of pods: nobody has it, and this machine answers for it on every pod's interface.
pub const POD_GATEWAY_IPV4: [u8; 4] = [169, 254, 1, 1];
/// [`POD_GATEWAY_IPV4`] in map form.
pub const POD_GATEWAY4: Address4 = address4(POD_GATEWAY_IPV4);
