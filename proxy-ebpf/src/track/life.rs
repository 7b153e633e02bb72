//! Time-outs: how long a flow lives after a packet.

use proxy_common::address::{TCP, UDP};
use proxy_common::conntrack::{
    FLOW_ASSURED, FLOW_CLOSED_SECONDS, FLOW_HALF_OPEN_SECONDS, FLOW_ICMP_SECONDS,
    FLOW_OTHER_SECONDS, Head,
};

use crate::know::node::timeout;
use crate::maps::Family;

/// Seconds.
#[inline(always)]
pub fn of<F: Family>(head: Head) -> u32 {
    let assured = head.flags & FLOW_ASSURED != 0;
    if head.protocol == TCP {
        return tcp(head);
    }
    if head.protocol == UDP {
        return if assured {
            timeout(|timeouts| timeouts.udp_stream)
        } else {
            timeout(|timeouts| timeouts.udp)
        };
    }
    if head.protocol == F::ICMP {
        FLOW_ICMP_SECONDS
    } else if assured {
        FLOW_OTHER_SECONDS
    } else {
        FLOW_HALF_OPEN_SECONDS
    }
}

/// Seconds after a packet that may be a FIN. Until it is acknowledged it counts for as long as nobody speaks: an end that is gone
/// acknowledges nothing, and whoever gets one that does not belong there answers at once.
#[inline(always)]
pub fn after<F: Family>(head: Head, fin: bool) -> u32 {
    if fin && head.flags & FLOW_ASSURED != 0 && !head.is_closed() {
        timeout(|timeouts| timeouts.tcp_close_wait)
    } else {
        of::<F>(head)
    }
}

#[inline(always)]
fn tcp(head: Head) -> u32 {
    if head.is_closed() {
        FLOW_CLOSED_SECONDS
    } else if head.flags & FLOW_ASSURED == 0 {
        FLOW_HALF_OPEN_SECONDS
    } else if head.has_ended(0) || head.has_ended(1) {
        timeout(|timeouts| timeouts.tcp_close_wait)
    } else {
        timeout(|timeouts| timeouts.tcp_established)
    }
}
