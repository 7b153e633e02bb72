//! What is relayed to another node without the host's stack: put into the tunnel by the program itself. All else that
//! is relayed is tc's, by the tunnel's device.

use proxy_common::address::{UDP, is_mapped};
use proxy_common::conntrack::FLOW_DIRECT;
use proxy_common::counters::{NO_ROUTE, REWRITE_FAILED};
use proxy_common::node::NodeConfig;
use proxy_common::tunnel::{NETWORK_DIRECT, NETWORK_RELAYED, TUNNEL_MAC, TUNNEL_SENDER_MAC};

use super::course::Course;
use super::through;
use crate::know::next_hop::{self, Between, Ends};
use crate::know::{node, relay};
use crate::machine::frame::Frame as _;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::machine::xdp::Xdp;
use crate::maps::{Family, V4, V6};
use crate::packet::age::age;
use crate::packet::description::Packet;
use crate::packet::vxlan::{self, around, can_be_summed, surround};

/// Hardware addresses of every frame in the tunnel.
const INNER: Ends = Ends::of(TUNNEL_MAC, TUNNEL_SENDER_MAC);

/// Finds the way to the node in `course.relay`, into `course.hop`. `NEXT`: it is for tc to send.
#[inline(always)]
pub fn find_way<F: Family>(xdp: Xdp, packet: &Packet<F>, course: &mut Course<F>) -> Verdict {
    let Some(config) = node::config() else {
        return NEXT;
    };
    let takes = config.tunnel_device != 0 && relay::is_on() && packet.length <= config.tunnel_mtu;
    if !takes {
        return NEXT;
    }
    let length = packet.length;
    if is_mapped(&course.relay) {
        let ends = [config.address4, course.relay[3]];
        return find_way_between::<V4>(xdp, ends, [packet.now, length], &mut course.hop);
    }
    if !can_be_summed(xdp, packet) {
        return NEXT;
    }
    let ends = [config.address6, course.relay];
    find_way_between::<V6>(xdp, ends, [packet.now, length], &mut course.hop)
}

/// As [`find_way`], between two ends of a tunnel.
#[inline(always)]
fn find_way_between<U: Family>(
    xdp: Xdp,
    [source, destination]: [U::Address; 2],
    [now, length]: [u32; 2],
    to: &mut u32,
) -> Verdict {
    if source == U::UNSPECIFIED {
        return NEXT;
    }
    let between = Between {
        source,
        destination,
        protocol: UDP,
        now,
        bare: true,
        own: false,
    };
    let Some((hop, number)) = next_hop::find::<_, U>(xdp, &between) else {
        return NEXT;
    };
    if !through::takes(xdp, hop, number, length + around(U::IPV6)) {
        return NEXT;
    }
    *to = number;
    CONTINUE
}

/// Sends a packet as it is to the node in `course.relay`: an action of XDP. `NEXT`: there is no room before it.
#[inline(always)]
pub fn send<F: Family>(xdp: Xdp, packet: &mut Packet<F>, course: &Course<F>) -> Verdict {
    let (Some(config), Some(hop)) = (node::config(), next_hop::get(course.hop)) else {
        return dropped(NO_ROUTE);
    };
    let over_ipv6 = !is_mapped(&course.relay);
    let room = around(over_ipv6);
    if !xdp.grow(room) {
        return NEXT;
    }
    packet.link += room;
    let says = [u32::from(config.tunnel_port), network(course, config)];
    let ends = if over_ipv6 {
        vxlan::Ends::V6([&config.address6, &course.relay])
    } else {
        vxlan::Ends::V4([config.address4, course.relay[3]])
    };
    let written = age(xdp, packet)
        && xdp.put(room, &INNER)
        && surround(xdp, (packet, &INNER.words), &ends, says)
        && xdp.put(0, &hop.ends);
    if !written {
        return dropped(REWRITE_FAILED);
    }
    through::leave(xdp, hop)
}

/// The number of the tunnel's network, which says that what is in it is relayed.
#[inline(always)]
const fn network<F: Family>(course: &Course<F>, config: &NodeConfig) -> u32 {
    let marks = if course.flags & FLOW_DIRECT as u32 == 0 {
        NETWORK_RELAYED
    } else {
        NETWORK_RELAYED | NETWORK_DIRECT
    };
    config.tunnel_vni ^ marks
}
