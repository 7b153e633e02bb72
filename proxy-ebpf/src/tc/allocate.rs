//! Source translation: a free port of the node's address, so that the answers come back here; for a backend on the
//! node itself, of an address that is routed to `weir_host`.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use proxy_common::conntrack::FLOW_SOURCE_TRANSLATED;
use proxy_common::counters::NO_SOURCE_PORT;

use super::address::same;
use super::begin::answer;
use super::node::config;
use super::packet::{MARK_TO_HOST, Packet};
use super::skb::Skb;
use super::verdict::{CONTINUE, Verdict, dropped};
use super::wire::Wire;

/// Ports that are tried.
const TRIES: u32 = 32;
/// Ports of the address that stands for the host itself: nobody else uses them.
const PEER_PORTS: (u16, u16) = (1024, 65535);

/// Gives `target` a source of ours and claims the entry for the answers.
#[inline(always)]
pub fn allocate<F: Wire>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let config = config();
    let to_host = packet.marks & MARK_TO_HOST != 0;
    let source: F::Address = if to_host {
        F::HOST_PEER
    } else if F::IPV6 {
        // SAFETY: for IPv6 the address type is this very one.
        unsafe { (&raw const config.address6).cast::<F::Address>().read() }
    } else {
        // SAFETY: for IPv4 the address type is this very one.
        unsafe { (&raw const config.address4).cast::<F::Address>().read() }
    };
    let (first, last) = if to_host {
        PEER_PORTS
    } else {
        (config.source_port_min, config.source_port_max)
    };
    if same(&source, &F::UNSPECIFIED) || last < first {
        return dropped(NO_SOURCE_PORT);
    }
    let range = u32::from(last) - u32::from(first) + 1;
    packet.target.from = source;
    // The client's own port first, scaled into the range: the same client keeps its port.
    let mut number = u32::from(u16::from_be(packet.flow.from_port));
    for _ in 0..TRIES {
        let offset = number.checked_rem(range).unwrap_or(0);
        let port = u32::from(first) + offset;
        packet.target.from_port = (port as u16).to_be();
        if answer(skb, packet, FLOW_SOURCE_TRANSLATED) == CONTINUE {
            return CONTINUE;
        }
        // SAFETY: a helper without arguments.
        number = unsafe { bpf_get_prandom_u32() };
    }
    dropped(NO_SOURCE_PORT)
}
