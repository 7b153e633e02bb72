//! Clients that come while the flood goes on.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::Duration,
};

use weir_tests::world::{Place, Talk};

use super::bed::Bed;

/// Between two of one way.
const PAUSE: Duration = Duration::from_millis(20);
/// A client of datagrams asks again after this, so often, as resolvers do.
const AGAIN: (Duration, usize) = (Duration::from_secs(1), 3);

/// What came of them: tried and served, by what they did.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, (u64, u64)>);

impl Tally {
    pub(crate) fn tried(&self) -> u64 {
        self.0.values().map(|(tried, _)| tried).sum()
    }

    pub(crate) fn served(&self) -> u64 {
        self.0.values().map(|(_, served)| served).sum()
    }

    fn count(&mut self, what: &'static str, served: bool) {
        let counts = self.0.entry(what).or_default();
        counts.0 += 1;
        counts.1 += u64::from(served);
    }

    fn add(&mut self, other: &Self) {
        for (what, (tried, served)) in &other.0 {
            let counts = self.0.entry(what).or_default();
            counts.0 += tried;
            counts.1 += served;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (what, (tried, served)) in &self.0 {
            write!(f, "{between}{served} of {tried} {what}")?;
            between = ", ";
        }
        Ok(())
    }
}

/// A way of asking.
#[derive(Clone)]
struct Way {
    place: Place,
    to: SocketAddr,
    /// It is the port that is flooded, where only connections are served.
    flooded: bool,
}

/// The clients.
pub(crate) struct Honest {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Honest {
    /// They come by all ways, one after the other by each.
    pub(crate) fn come(bed: &Bed) -> Self {
        let end = Arc::<AtomicBool>::default();
        let threads = ways(bed).map(|way| {
            let end = Arc::clone(&end);
            spawn(move || {
                let mut tally = Tally::default();
                while !end.load(Ordering::Relaxed) {
                    way.ask(&mut tally);
                    sleep(PAUSE);
                }
                tally
            })
        });
        let threads = threads.collect();
        Self { end, threads }
    }

    pub(crate) fn stop(self) -> Tally {
        self.end.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for thread in self.threads {
            sum.add(&thread.join().unwrap());
        }
        sum
    }

    /// One by each way.
    pub(crate) fn once(bed: &Bed) -> Tally {
        let mut tally = Tally::default();
        ways(bed).for_each(|way| way.ask(&mut tally));
        tally
    }
}

fn ways(bed: &Bed) -> impl Iterator<Item = Way> {
    let beside = bed.ways().into_iter().map(|way| (way, false));
    let at_target = bed.flooded().into_iter().map(|way| (way, true));
    let all = beside.chain(at_target);
    all.map(|((place, to), flooded)| Way { place, to, flooded })
}

impl Way {
    fn ask(&self, tally: &mut Tally) {
        let connected = Talk::open(&self.place, self.to);
        if self.flooded {
            tally.count("connections to the flooded port", connected.is_ok());
            return;
        }
        tally.count("connections", connected.is_ok());
        tally.count("questions in datagrams", self.asks().is_some());
    }

    fn asks(&self) -> Option<()> {
        let any = if self.to.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = self.place.udp(any.parse().ok()?).ok()?;
        socket.connect(self.to).ok()?;
        socket.set_read_timeout(Some(AGAIN.0)).ok()?;
        let mut buffer = [0; 256];
        (0..AGAIN.1).find_map(|_| {
            socket.send(b"?").ok()?;
            socket.recv(&mut buffer).ok().map(drop)
        })
    }
}
