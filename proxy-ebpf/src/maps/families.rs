//! IPv4 and IPv6 as [`Family`]: one text for both, because their maps differ in the width of the address only.
//!
//! Lookups are unsafe because an entry may be changed or re-used under the reader. All writers replace or
//! update whole words, entries are freed after the program's RCU section, and a stale value is harmless.

use aya_ebpf::btf_maps::lpm_trie::Key;
use proxy_common::{
    address::{Address4, Address6, ICMP, ICMPV6, address4, mapped, octets4},
    backends::{Backend4, Backend6},
    conntrack::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState, Rewrite4, Rewrite6},
    endpoints::LocalPod,
    fragments::{FragmentKey4, FragmentKey6, FragmentPorts},
    frontends::{Frontend, FrontendKey4, FrontendKey6},
    host::{HOST_PEER4, HOST_PEER6},
    policy::peers::{CidrKey4, CidrKey6, Peer, PeerKey4, PeerKey6},
    sockets::{SocketReverse4, SocketReverse6, SocketReverseKey4, SocketReverseKey6},
};

use super::{
    BACKENDS4, BACKENDS6, Backend, CIDRS4, CIDRS6, CONNTRACK4, CONNTRACK6, FRAGMENTS4, FRAGMENTS6,
    FRONTENDS4, FRONTENDS6, Family, FlowTuple, Hash, LOCAL_PODS4, LOCAL_PODS6, Lru, NEW_FLOWS4,
    NEW_FLOWS6, NODE_ADDRESSES4, NODE_ADDRESSES6, PEERS4, PEERS6, SOCKET_REVERSE4, SOCKET_REVERSE6,
    family::sealed::Sealed,
};

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug)]
pub struct V6;

/// Implements [`Family`] for one of them.
macro_rules! implement_family {
    (
        family: $family:ident, address: $address:ident, ipv6: $ipv6:literal, unspecified: $unspecified:expr, loopback: $loopback:expr, host_peer: $host_peer:expr,
        icmp: $icmp:expr, is_loopback: $is_loopback:expr, as_ipv6: $as_ipv6:expr, from_ipv6: $from_ipv6:expr, reverse_pad: $reverse_pad:expr,
        types: $frontend_key:ident $backend:ident $flow_key:ident $flow:ident $rewrite:ident $fragment_key:ident
            $peer_key:ident $cidr_key:ident $reverse_key:ident $reverse:ident,
        maps: $FRONTENDS:ident $BACKENDS:ident $NODE_ADDRESSES:ident $LOCAL_PODS:ident $CONNTRACK:ident
            $NEW_FLOWS:ident $FRAGMENTS:ident $PEERS:ident $CIDRS:ident $SOCKET_REVERSE:ident,
    ) => {
        impl Sealed for $family {}

        impl Family for $family {
            type Address = $address;
            type FlowKey = $flow_key;
            type Flow = $flow;
            type FragmentKey = $fragment_key;

            const IPV6: bool = $ipv6;
            const UNSPECIFIED: $address = $unspecified;
            const LOOPBACK: $address = $loopback;
            const HOST_PEER: $address = $host_peer;
            const ICMP: u8 = $icmp;

            #[inline(always)]
            fn frontend(address: $address, port: u16, protocol: u8) -> Option<&'static Frontend> {
                let key = $frontend_key {
                    address,
                    port,
                    protocol,
                    pad: 0,
                };
                // SAFETY: see the note at the head of this file.
                unsafe { $FRONTENDS.get(key) }
            }

            #[inline(always)]
            fn backend(id: u32) -> Option<Backend<$address>> {
                // SAFETY: see the note at the head of this file.
                let stored: &$backend = unsafe { $BACKENDS.get(id) }?;
                Some(Backend {
                    address: stored.address,
                    port: stored.port,
                    flags: stored.flags,
                })
            }

            #[inline(always)]
            fn node_address(address: $address) -> u32 {
                // SAFETY: see the note at the head of this file.
                unsafe { $NODE_ADDRESSES.get(address) }.map_or(0, |flags| *flags)
            }

            #[inline(always)]
            fn is_loopback(address: $address) -> bool {
                ($is_loopback)(address)
            }

            #[inline(always)]
            fn as_ipv6(address: $address) -> [u32; 4] {
                ($as_ipv6)(address)
            }

            #[inline(always)]
            fn from_ipv6(address: [u32; 4]) -> $address {
                ($from_ipv6)(address)
            }

            #[inline(always)]
            fn local_pod(address: $address) -> Option<&'static LocalPod> {
                // SAFETY: see the note at the head of this file.
                unsafe { $LOCAL_PODS.get(address) }
            }

            #[inline(always)]
            fn conntrack() -> &'static Hash<$flow_key, $flow> {
                &$CONNTRACK
            }

            #[inline(always)]
            fn new_flows() -> &'static Lru<$flow_key, $flow> {
                &$NEW_FLOWS
            }

            #[inline(always)]
            fn fragments() -> &'static Lru<$fragment_key, FragmentPorts> {
                &$FRAGMENTS
            }

            #[inline(always)]
            fn flow_key(scope: u32, protocol: u8, tuple: &FlowTuple<$address>) -> $flow_key {
                $flow_key {
                    scope,
                    local: tuple.from,
                    remote: tuple.to,
                    local_port: tuple.from_port,
                    remote_port: tuple.to_port,
                    protocol,
                    pad: [0; 3],
                }
            }

            #[inline(always)]
            fn flow(state: FlowState, rewrite: &FlowTuple<$address>) -> $flow {
                let rewrite = $rewrite {
                    source: rewrite.from,
                    destination: rewrite.to,
                    source_port: rewrite.from_port,
                    destination_port: rewrite.to_port,
                };
                $flow { state, rewrite }
            }

            #[inline(always)]
            fn turn(flow: &mut $flow, flags: u32, packet: &FlowTuple<$address>) {
                flow.state.flags = flags;
                flow.rewrite.source = packet.to;
                flow.rewrite.destination = packet.from;
                flow.rewrite.source_port = packet.to_port;
                flow.rewrite.destination_port = packet.from_port;
            }

            #[inline(always)]
            fn state(flow: &$flow) -> &FlowState {
                &flow.state
            }

            #[inline(always)]
            fn state_ptr(flow: *mut $flow) -> *mut FlowState {
                // The state is the first field.
                flow.cast()
            }

            #[inline(always)]
            fn rewrite(flow: &$flow) -> FlowTuple<$address> {
                let to = &flow.rewrite;
                FlowTuple {
                    from: to.source,
                    to: to.destination,
                    from_port: to.source_port,
                    to_port: to.destination_port,
                }
            }

            #[inline(always)]
            fn fragment_key(
                source: $address,
                destination: $address,
                identification: u32,
                scope: u32,
                protocol: u8,
            ) -> $fragment_key {
                $fragment_key {
                    source,
                    destination,
                    identification,
                    scope,
                    protocol,
                    pad: [0; 3],
                }
            }

            #[inline(always)]
            fn peer(side: u32, address: $address) -> Option<Peer> {
                // SAFETY: see the note at the head of this file.
                unsafe { $PEERS.get($peer_key { side, address }) }.copied()
            }

            #[inline(always)]
            fn cidr(side: u32, address: $address) -> Option<Peer> {
                let bits = 8 * size_of::<$cidr_key>() as u32;
                $CIDRS
                    .get(&Key::new(bits, $cidr_key { side, address }))
                    .copied()
            }

            #[inline(always)]
            fn remember_reverse(cookie: u64, backend: ($address, u16), frontend: ($address, u16)) {
                let key = $reverse_key {
                    cookie,
                    address: backend.0,
                    port: backend.1,
                    pad: $reverse_pad,
                };
                let value = $reverse {
                    address: frontend.0,
                    port: frontend.1,
                    pad: 0,
                };
                // An LRU map makes room by itself; should it fail, the answer shows the backend's address.
                $SOCKET_REVERSE.insert(key, value, 0).ok();
            }

            #[inline(always)]
            fn reverse(cookie: u64, address: $address, port: u16) -> Option<($address, u16)> {
                let key = $reverse_key {
                    cookie,
                    address,
                    port,
                    pad: $reverse_pad,
                };
                // SAFETY: see the note at the head of this file.
                let value = unsafe { $SOCKET_REVERSE.get(key) }?;
                Some((value.address, value.port))
            }

            #[inline(always)]
            fn forget_reverse(cookie: u64, address: $address, port: u16) {
                // Absent is as good as removed.
                $SOCKET_REVERSE
                    .remove($reverse_key {
                        cookie,
                        address,
                        port,
                        pad: $reverse_pad,
                    })
                    .ok();
            }
        }
    };
}

implement_family! {
    family: V4, address: Address4, ipv6: false, unspecified: 0, loopback: address4([127, 0, 0, 1]), host_peer: HOST_PEER4,
    icmp: ICMP, is_loopback: |address| octets4(address)[0] == 127, as_ipv6: mapped, from_ipv6: |address: [u32; 4]| address[3], reverse_pad: 0,
    types: FrontendKey4 Backend4 FlowKey4 Flow4 Rewrite4 FragmentKey4
        PeerKey4 CidrKey4 SocketReverseKey4 SocketReverse4,
    maps: FRONTENDS4 BACKENDS4 NODE_ADDRESSES4 LOCAL_PODS4 CONNTRACK4
        NEW_FLOWS4 FRAGMENTS4 PEERS4 CIDRS4 SOCKET_REVERSE4,
}

implement_family! {
    family: V6, address: Address6, ipv6: true, unspecified: [0; 4], loopback: [0, 0, 0, 1_u32.to_be()], host_peer: HOST_PEER6,
    icmp: ICMPV6, is_loopback: |address: Address6| address == V6::LOOPBACK,
    as_ipv6: |address: Address6| address, from_ipv6: |address: Address6| address, reverse_pad: [0; 3],
    types: FrontendKey6 Backend6 FlowKey6 Flow6 Rewrite6 FragmentKey6
        PeerKey6 CidrKey6 SocketReverseKey6 SocketReverse6,
    maps: FRONTENDS6 BACKENDS6 NODE_ADDRESSES6 LOCAL_PODS6 CONNTRACK6
        NEW_FLOWS6 FRAGMENTS6 PEERS6 CIDRS6 SOCKET_REVERSE6,
}
