//! What routers have told of narrow ways, longer than the kernel remembers it: it forgets after ten minutes
//! (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/route.c#L104>), and then packets would be lost again until a router tells anew.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// For how long a way is taken to be narrow after the kernel has forgotten it.
const KEPT: Duration = Duration::from_hours(1);

/// The length of a packet for which there is room, by its receiver.
#[derive(Debug, Default)]
pub(super) struct Learned(BTreeMap<IpAddr, (u32, Instant)>);

impl Learned {
    /// Takes up what the kernel knows now, and gives what is to count.
    pub(super) fn take(&mut self, ip: IpAddr, told: Option<u32>, now: Instant) -> Option<u32> {
        if let Some(mtu) = told {
            let former = self.0.insert(ip, (mtu, now));
            if former.is_none_or(|(former, _)| former != mtu) {
                tracing::info!(%ip, mtu, "a router on the way to a node has less room");
            }
        }
        let (mtu, since) = *self.0.get(&ip)?;
        if now.saturating_duration_since(since) < KEPT {
            return Some(mtu);
        }
        self.0.remove(&ip);
        None
    }

    /// Ways may be others.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_counts_longer_than_the_kernel_knows_it() {
        let (mut learned, began) = (Learned::default(), Instant::now());
        let ip = "192.0.2.1".parse().unwrap();
        assert_eq!(learned.take(ip, None, began), None);
        assert_eq!(learned.take(ip, Some(1300), began), Some(1300));
        assert_eq!(
            learned.take("192.0.2.2".parse().unwrap(), None, began),
            None
        );
        let later = began + KEPT / 2;
        assert_eq!(learned.take(ip, None, later), Some(1300));
        assert_eq!(learned.take(ip, Some(1280), later), Some(1280));
        assert_eq!(learned.take(ip, None, began + KEPT), Some(1280));
        assert_eq!(learned.take(ip, None, later + KEPT), None);
        learned.take(ip, Some(1300), later);
        learned.clear();
        assert_eq!(learned.take(ip, None, later), None);
    }
}
