//! Token bucket: a limit of bandwidth as the kernel has it (`sch_tbf`): values and their encoding.

use std::io;

use netlink_packet_core::{DefaultNla, Nla as _, NlaBuffer, NlasIterator};
use netlink_packet_route::tc::TcOption;

/// A limit, as a runtime or a Pod tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// Bits per second.
    pub rate: u64,
    /// Bits that may go at once; 0 if nobody says.
    pub burst: u64,
}

impl Limit {
    /// None where the rate is 0.
    pub fn new(rate: u64, burst: u64) -> Option<Self> {
        (rate != 0).then_some(Self { rate, burst })
    }
}

/// A token bucket. What the kernel shows of one that it was given is equal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes per second.
    rate: u64,
    /// How long a full bucket lasts at that rate, in the kernel's ticks of 64 ns (`PSCHED_SHIFT`).
    ticks: u32,
    /// Bytes that may wait.
    limit: u32,
}

/// What a packet of 64 KiB is for a bucket: with the headers of the segments that it stands for (`qdisc_pkt_len_init`).
/// A larger one is cut into these before it is queued, which costs time of the processor.
const LARGEST: u64 = (64 + 8) << 10;
/// Bits. Runtimes that know no burst tell `MaxUint32` or eight times as much, with which gigabytes would pass at once
/// (<https://github.com/kubernetes/kubernetes/issues/90838>).
const NONSENSE: u64 = 1 << 31;
/// Bytes per second. No interface of a node is faster, and the kernel's arithmetic goes up to there
/// (<https://elixir.bootlin.com/linux/v6.12/source/net/sched/sch_tbf.c#L143>).
const FASTEST: u64 = 1_000_000_000_000 / 8;
/// Bytes per second: the least that annotations may ask for. The kernel's longest time, 274 s, has room for whole packets there.
const SLOWEST: u64 = 1000 / 8;
/// Part of a second for which a bucket of our own choice lasts.
const BURSTS: u64 = 50;
/// Part of a second for which a packet waits at most, behind a full bucket (the bandwidth plugin's 25 ms).
const WAITS: u64 = 40;
const NANOSECONDS: u128 = 1_000_000_000;
const TICK: u128 = 64;
/// Of the link and of a VLAN.
const HEADERS: u64 = 18;

/// `TCA_TBF_PARMS`, `TCA_TBF_RATE64`.
const PARAMETERS: u16 = 1;
const RATE64: u16 = 4;
/// `struct tc_tbf_qopt`.
const SIZE: usize = 36;
/// `TC_LINKLAYER_ETHERNET`.
const ETHERNET: u8 = 1;

impl Bucket {
    /// Kind of the queueing discipline.
    pub const KIND: &'static str = "tbf";

    /// For an interface with an MTU.
    pub fn new(limit: Limit, mtu: u32) -> Self {
        let rate = (limit.rate / 8).clamp(SLOWEST, FASTEST);
        let mtu = u64::from(mtu);
        let burst = if limit.burst == 0 || limit.burst >= NONSENSE {
            (rate / BURSTS).max(LARGEST).max(10 * mtu)
        } else {
            (limit.burst / 8).max(mtu + HEADERS)
        };
        let ticks = u128::from(burst) * NANOSECONDS / u128::from(rate) / TICK + 1;
        Self {
            rate,
            ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
            // However little may go at once, a large packet that is cut into pieces has room to wait.
            limit: u32::try_from(burst.max(LARGEST) + rate / WAITS).unwrap_or(u32::MAX),
        }
    }

    /// Bytes per second.
    pub const fn rate(self) -> u64 {
        self.rate
    }

    /// Nanoseconds for which a full one lasts.
    pub fn lasts(self) -> u64 {
        u64::from(self.ticks) * 64
    }

    /// Nanoseconds that a packet waits at most.
    pub fn patience(self) -> u64 {
        u64::from(self.limit).saturating_mul(1_000_000_000) / self.rate
    }

    /// Bits per second.
    pub const fn bits(self) -> u64 {
        self.rate * 8
    }

    /// Bytes that may go at once.
    pub fn burst(self) -> u64 {
        let bytes = u128::from(self.ticks) * TICK * u128::from(self.rate) / NANOSECONDS;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// As the kernel takes it.
    pub fn options(self) -> Vec<TcOption> {
        let mut bytes = Vec::with_capacity(SIZE);
        bytes.extend([0, ETHERNET]);
        bytes.extend([0; 6]);
        bytes.extend(u32::try_from(self.rate).unwrap_or(u32::MAX).to_ne_bytes());
        // No peak rate.
        bytes.extend([0; 12]);
        bytes.extend(self.limit.to_ne_bytes());
        bytes.extend(self.ticks.to_ne_bytes());
        bytes.extend([0; 4]);
        let mut options = vec![TcOption::Other(DefaultNla::new(PARAMETERS, bytes))];
        if self.rate > u64::from(u32::MAX) {
            let rate = self.rate.to_ne_bytes().to_vec();
            options.push(TcOption::Other(DefaultNla::new(RATE64, rate)));
        }
        options
    }

    /// As the kernel shows it; none if it is of another shape than ours.
    pub fn of(options: &[TcOption]) -> io::Result<Option<Self>> {
        let [TcOption::Other(nested)] = options else {
            return Ok(None);
        };
        let mut value = vec![0; nested.value_len()];
        nested.emit_value(&mut value);
        let (mut parameters, mut rate64) = (None, None);
        for attribute in NlasIterator::new(value.as_slice()) {
            let attribute = attribute.map_err(|e| io::Error::other(e.to_string()))?;
            match attribute.kind() {
                PARAMETERS => parameters = Some(attribute.value().to_vec()),
                RATE64 => rate64 = number64(&attribute),
                _ => {}
            }
        }
        Ok(parameters.and_then(|bytes| Self::decode(&bytes, rate64)))
    }

    fn decode(bytes: &[u8], rate64: Option<u64>) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let peak = word(20)?;
        (peak == 0).then_some(Self {
            rate: rate64.unwrap_or(word(8)?.into()),
            limit: word(24)?,
            ticks: word(28)?,
        })
    }
}

fn number64(attribute: &NlaBuffer<&[u8]>) -> Option<u64> {
    Some(u64::from_ne_bytes(attribute.value().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u64, burst: u64) -> Bucket {
        Bucket::new(Limit { rate, burst }, 1500)
    }

    #[test]
    fn bursts_of_runtimes_that_know_none_are_replaced() {
        for nonsense in [0, 1 << 31, u64::from(u32::MAX), 34_359_738_359, u64::MAX] {
            let own = bucket(10_000_000, nonsense).burst();
            assert!((LARGEST..LARGEST + 100).contains(&own), "{nonsense}: {own}");
        }
        let told = bucket(10_000_000, 1_600_000).burst();
        assert!((200_000..200_100).contains(&told), "{told}");
        // A burst in which no packet has room would let none pass.
        assert!(bucket(10_000_000, 8).burst() > 1500);
        // 20 ms.
        let fast = bucket(10_000_000_000, 0).burst();
        assert!((25_000_000..25_000_100).contains(&fast), "{fast}");
    }

    #[test]
    fn rates_from_the_least_to_the_most_are_the_kernels_to_express() {
        for rate in [1, 1_000, 1_000_001, 40_000_000_000, 1_000_000_000_000_000] {
            let bucket = bucket(rate, 0);
            assert!(bucket.burst() > 1518, "{rate}: {bucket:?}");
            assert!(bucket.limit > 1518 && bucket.rate > 0, "{rate}: {bucket:?}");
            // As `psched_ns_t2l` does.
            assert!(
                u64::from(bucket.ticks)
                    .checked_mul(64 * bucket.rate)
                    .is_some()
            );
        }
    }
}
