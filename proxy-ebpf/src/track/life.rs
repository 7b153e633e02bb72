//! Time-outs: how long a flow lives after a packet.

use proxy_common::address::{TCP, UDP};
use proxy_common::conntrack::{
    FLOW_ASSURED, FLOW_CLOSED_SECONDS, FLOW_FIN_0, FLOW_FIN_1, FLOW_HALF_OPEN_SECONDS,
    FLOW_ICMP_SECONDS, FLOW_OTHER_SECONDS, FLOW_RST_0, FLOW_RST_1,
};

use crate::know::node::timeout;
use crate::maps::Family;

/// Seconds.
#[inline(always)]
pub fn of<F: Family>(protocol: u8, flags: u16) -> u32 {
    let assured = flags & FLOW_ASSURED != 0;
    if protocol == TCP {
        return tcp(flags);
    }
    if protocol == UDP {
        return if assured {
            timeout(|timeouts| timeouts.udp_stream)
        } else {
            timeout(|timeouts| timeouts.udp)
        };
    }
    if protocol == F::ICMP {
        FLOW_ICMP_SECONDS
    } else if assured {
        FLOW_OTHER_SECONDS
    } else {
        FLOW_HALF_OPEN_SECONDS
    }
}

#[inline(always)]
fn tcp(flags: u16) -> u32 {
    let fins = flags & (FLOW_FIN_0 | FLOW_FIN_1);
    if flags & (FLOW_RST_0 | FLOW_RST_1) != 0 || fins == FLOW_FIN_0 | FLOW_FIN_1 {
        FLOW_CLOSED_SECONDS
    } else if flags & FLOW_ASSURED == 0 {
        FLOW_HALF_OPEN_SECONDS
    } else if fins != 0 {
        timeout(|timeouts| timeouts.tcp_close_wait)
    } else {
        timeout(|timeouts| timeouts.tcp_established)
    }
}
