//! `to_tunnel`: egress of the tunnel's device. What the host's stack sends to pods of other nodes; what the programs send by it
//! is finished.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use proxy_common::counters::NO_TUNNEL;

use super::enter::by_family;
use super::finish::finish;
use super::to_net;
use crate::act::tunnel::enter;
use crate::machine::frame::ETHERNET;
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::maps::{Family, V4, V6};

/// The program.
#[classifier]
pub fn to_tunnel(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    if skb.is_done() {
        return NEXT;
    }
    let verdict = if skb.is_tagged() {
        dropped(NO_TUNNEL)
    } else {
        by_family(skb, run::<V4>, run::<V6>, |_| dropped(NO_TUNNEL))
    };
    finish(skb, verdict)
}

/// As by any link; then to whom it goes, as it is now.
#[inline(always)]
fn run<F: Family>(skb: Skb) -> Verdict {
    if !skb.is_turned() {
        let verdict = to_net::run::<F, ETHERNET>(skb);
        if verdict != NEXT {
            return verdict;
        }
    }
    match enter::<F>(skb) {
        CONTINUE => {
            skb.set_done();
            NEXT
        }
        verdict => verdict,
    }
}
