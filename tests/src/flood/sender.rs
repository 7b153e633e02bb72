//! Who sends them: a thread per processor, for a span and no longer.

use std::{
    fmt, io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use super::forge::Forge;
use crate::{length::seed, link::LinkSocket, world::Place};

/// Packets between two looks at the clock.
const BATCH: usize = 64;

/// A flood that is on its way. It ends by itself.
#[derive(Debug)]
pub struct Flood {
    threads: Vec<JoinHandle<io::Result<Sent>>>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// In this time.
    pub span: Duration,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets, span } = self;
        let rate = u128::from(*packets) * 1000 / span.as_millis().max(1);
        write!(f, "{packets} packets in {span:.1?}, {rate}/s")
    }
}

impl Flood {
    /// Sends these packets in turn by a device of a place.
    pub fn start(place: &Place, device: &str, forges: &[Forge], span: Duration) -> Result<Self> {
        let seed = seed();
        let processors = thread::available_parallelism()?.get() as u64;
        let threads = (0..processors).map(|number| {
            let socket = LinkSocket::open(place, device)?;
            let seeds = (1..)
                .map(|forge| seed ^ (number << 32 | forge).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let forges = forges.iter().cloned().zip(seeds);
            let forges: Vec<Forge> = forges.map(|(forge, seed)| forge.seeded(seed)).collect();
            Ok(thread::spawn(move || send(&socket, forges, span)))
        });
        Ok(Self {
            threads: threads.collect::<Result<_>>()?,
        })
    }

    /// Waits for its end.
    pub fn wait(self) -> Result<Sent> {
        let mut sum = Sent::default();
        for thread in self.threads {
            let sent = thread
                .join()
                .map_err(|_panic| anyhow!("a sender panicked"))?;
            let sent = sent.context("send a flood")?;
            sum.packets += sent.packets;
            sum.span = sum.span.max(sent.span);
        }
        Ok(sum)
    }
}

fn send(socket: &LinkSocket, mut forges: Vec<Forge>, span: Duration) -> io::Result<Sent> {
    let start = Instant::now();
    let mut packets = 0;
    while start.elapsed() < span {
        for forge in &mut forges {
            for _ in 0..BATCH {
                match socket.send(forge.next_frame()) {
                    Ok(()) => packets += 1,
                    // The link has no room just now.
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(Sent {
        packets,
        span: start.elapsed(),
    })
}
