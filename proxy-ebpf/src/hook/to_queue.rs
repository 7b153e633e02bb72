//! `to_queue`: egress of the entry of a limited pod's queue, where the kernel has departure times. What the pod sends, which
//! `from_pod` has led there, before that is judged at the queue's end.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use super::finish::finish;
use crate::act::pace::pace;
use crate::machine::skb::Skb;

/// The program.
#[classifier]
pub fn to_queue(context: TcContext) -> i32 {
    let skb = Skb::new(context.skb.skb);
    finish(skb, pace(skb))
}
