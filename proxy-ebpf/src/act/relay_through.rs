//! What is relayed to another node without the host's stack: put into the tunnel by the program itself, over IPv4. All else that
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
use crate::maps::{Family, V4};
use crate::packet::age::age;
use crate::packet::description::Packet;
use crate::packet::vxlan::{AROUND4, Outer, surround};

/// Hardware addresses of every frame in the tunnel.
const INNER: Ends = Ends::of(TUNNEL_MAC, TUNNEL_SENDER_MAC);

/// Finds the way to the node in `course.relay`, into `course.hop`. `NEXT`: it is for tc to send.
#[inline(always)]
pub fn find_way<F: Family>(xdp: Xdp, packet: &Packet<F>, course: &mut Course<F>) -> Verdict {
    let Some(config) = node::config() else {
        return NEXT;
    };
    let takes = config.tunnel_device != 0 && relay::is_on() && packet.length <= config.tunnel_mtu;
    if !takes || !is_mapped(&course.relay) || config.address4 == 0 {
        return NEXT;
    }
    let between = Between {
        source: config.address4,
        destination: course.relay[3],
        protocol: UDP,
        now: packet.now,
        bare: true,
    };
    let Some((hop, number)) = next_hop::find::<_, V4>(xdp, &between) else {
        return NEXT;
    };
    if !through::takes(xdp, hop, number, packet.length + AROUND4) {
        return NEXT;
    }
    course.hop = number;
    CONTINUE
}

/// Sends a packet as it is to the node in `course.relay`: an action of XDP. `NEXT`: there is no room before it.
#[inline(always)]
pub fn send<F: Family>(xdp: Xdp, packet: &mut Packet<F>, course: &Course<F>) -> Verdict {
    let (Some(config), Some(hop)) = (node::config(), next_hop::get(course.hop)) else {
        return dropped(NO_ROUTE);
    };
    if !xdp.grow(AROUND4) {
        return NEXT;
    }
    packet.link += AROUND4;
    let written = age(xdp, packet)
        && xdp.put(AROUND4, &INNER)
        && surround(xdp, packet, &outer(course, config), xdp.length())
        && xdp.put(0, &hop.ends);
    if !written {
        return dropped(REWRITE_FAILED);
    }
    through::leave(xdp, hop)
}

#[inline(always)]
const fn outer<F: Family>(course: &Course<F>, config: &NodeConfig) -> Outer {
    let marks = if course.flags & FLOW_DIRECT as u32 == 0 {
        NETWORK_RELAYED
    } else {
        NETWORK_RELAYED | NETWORK_DIRECT
    };
    Outer {
        ends: [config.address4, course.relay[3]],
        port: config.tunnel_port,
        network: config.tunnel_vni ^ marks,
    }
}
