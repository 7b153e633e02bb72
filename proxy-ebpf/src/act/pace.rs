//! Rate limiting: times of departure, by which a queue (`sch_fq`) keeps pods to their limits of bandwidth: a bucket of tokens that is one
//! number, the time at which it is full again.
//!
//! That number is changed by comparing and swapping: a lock of the verifier's kind would have to be let go of before each helper
//! that is called, and there is nothing but this number to keep together.
//!
//! The times end with the queue. What is redirected or leaves the namespace loses them (`skb_clear_tstamp` in `__bpf_tx_skb` and
//! `__bpf_redirect_neigh_v4`, <https://elixir.bootlin.com/linux/v6.1/source/net/core/filter.c>, and in `skb_scrub_packet`,
//! <https://elixir.bootlin.com/linux/v6.1/source/net/core/skbuff.c>), what is forwarded too
//! (<https://elixir.bootlin.com/linux/v6.1/source/net/ipv4/ip_forward.c>), and what a socket gets (`skb_clear_delivery_time` in
//! `ip_local_deliver_finish`, <https://elixir.bootlin.com/linux/v6.1/source/net/ipv4/ip_input.c>, the same of IPv6, and
//! `packet_rcv`).

use core::ptr::read_volatile;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use proxy_common::counters::BANDWIDTH;
use proxy_common::pace::Pace;

use crate::machine::atomic;
use crate::machine::frame::{ETH_IP, ETH_IPV6};
use crate::machine::skb::Skb;
use crate::machine::verdict::{NEXT, Verdict, dropped};
use crate::maps::PACES;

/// How often the number is compared and swapped. Whoever loses so often knows that others have just made it a time to come, and
/// adds to it.
const TRIES: u32 = 4;

/// At egress: gives the packet its time of departure, if packets of this interface have any. `NEXT`, or a drop: it would wait too
/// long.
#[inline(always)]
pub fn pace(skb: Skb) -> Verdict {
    give_time(skb.raw())
}

/// A function of its own: the verifier checks it once, and its stack is not that of packets without limits.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn give_time(skb: *mut __sk_buff) -> Verdict {
    let skb = Skb::new(skb);
    if !matches!(skb.protocol(), ETH_IP | ETH_IPV6) {
        return NEXT;
    }
    let Some(pace) = PACES.get_ptr_mut(skb.device()) else {
        return NEXT;
    };
    let Some(time) = Bucket::of(pace, skb.wire_length()).take(skb) else {
        return dropped(BANDWIDTH);
    };
    // Whatever its sender said: it is not to leave before.
    if skb.depart_at(time) {
        NEXT
    } else {
        dropped(BANDWIDTH)
    }
}

/// A packet before its bucket.
struct Bucket {
    full_at: *mut u64,
    burst: u64,
    /// For how long a packet may wait.
    patience: u64,
    cost: u64,
    now: u64,
}

impl Bucket {
    #[inline(always)]
    fn of(pace: *mut Pace, bytes: u32) -> Self {
        // SAFETY: a record of the map, aligned words; a helper without arguments.
        unsafe {
            Self {
                full_at: &raw mut (*pace).full_at,
                burst: read_volatile(&raw const (*pace).burst),
                patience: read_volatile(&raw const (*pace).patience),
                cost: Pace::cost(read_volatile(&raw const (*pace).rate), bytes),
                now: bpf_ktime_get_ns(),
            }
        }
    }

    /// Takes a packet's tokens: when it departs; none if that is too late, and nothing is taken.
    #[inline(always)]
    fn take(mut self, skb: Skb) -> Option<u64> {
        // SAFETY: a word of a record of the map.
        let mut full_at = unsafe { read_volatile(self.full_at) };
        if self.wait(full_at) > self.patience {
            self.be_patient(full_at, skb)?;
        }
        for _ in 0..TRIES {
            if self.wait(full_at) > self.patience {
                return None;
            }
            let next = Pace::after(full_at, self.now, self.cost);
            // SAFETY: as above.
            if unsafe { atomic::swap(self.full_at, full_at, next) } {
                return Some(Pace::departure(next, self.burst, self.now));
            }
            // SAFETY: as above.
            full_at = unsafe { read_volatile(self.full_at) };
        }
        self.add()
    }

    /// Who is told of congestion is not dropped yet, up to twice the time.
    #[inline(always)]
    fn be_patient(&mut self, full_at: u64, skb: Skb) -> Option<()> {
        self.patience = self.patience.saturating_mul(2);
        (self.wait(full_at) <= self.patience && skb.mark_congestion()).then_some(())
    }

    /// As [`Self::take`], whoever else does so meanwhile.
    #[inline(always)]
    fn add(&self) -> Option<u64> {
        // SAFETY: a word of a record of the map.
        let full_at = unsafe { atomic::add(self.full_at, self.cost) };
        if self.wait(full_at) <= self.patience {
            let next = full_at.saturating_add(self.cost);
            return Some(Pace::departure(next, self.burst, self.now));
        }
        // SAFETY: as above.
        unsafe { atomic::add(self.full_at, self.cost.wrapping_neg()) };
        None
    }

    /// Nanoseconds that the packet waits before a bucket that is full again at a time.
    #[inline(always)]
    fn wait(&self, full_at: u64) -> u64 {
        let next = Pace::after(full_at, self.now, self.cost);
        Pace::departure(next, self.burst, self.now) - self.now
    }
}
