//! Flows that are there before the flood, and are used all the time.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::Duration,
};

use weir_tests::world::{Place, Talk};

use super::bed::Bed;

/// Flows of each kind by each way.
const EACH: usize = 10;
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(20);
/// A datagram may be lost on the way, where a queue is full: it is sent again after this, so often.
const AGAIN: (Duration, usize) = (Duration::from_millis(300), 20);

/// The flows of one way.
#[derive(Default)]
struct Way {
    connections: Vec<Talk>,
    datagrams: Vec<UdpSocket>,
    repeated: u64,
    faults: Vec<String>,
}

/// All of them.
pub(crate) struct Live {
    ways: Vec<Way>,
}

/// All of them, being used.
pub(crate) struct Talking {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Way>>,
}

impl Live {
    pub(crate) fn open(bed: &Bed) -> Self {
        let beside = bed.ways().into_iter().map(|way| (way, EACH));
        let at_target = bed.flooded().into_iter().map(|way| (way, 0));
        let ways = beside.chain(at_target);
        let ways = ways.map(|((place, to), datagrams)| Way::open(&place, to, datagrams));
        let mut live = Self {
            ways: ways.collect(),
        };
        // The second question makes a flow of datagrams one that stands.
        live.talk_once();
        live.talk_once();
        assert_eq!(live.faults(), [""; 0], "{}", bed.said());
        live
    }

    pub(crate) fn len(&self) -> usize {
        let counts = self.ways.iter();
        counts
            .map(|way| way.connections.len() + way.datagrams.len())
            .sum()
    }

    /// Every flow is used once.
    pub(crate) fn talk_once(&mut self) {
        self.ways.iter_mut().for_each(Way::talk);
    }

    /// Every flow is used without end.
    pub(crate) fn keep_talking(self) -> Talking {
        let end = Arc::<AtomicBool>::default();
        let threads = self.ways.into_iter().map(|mut way| {
            let end = Arc::clone(&end);
            spawn(move || {
                while !end.load(Ordering::Relaxed) && way.faults.is_empty() {
                    way.talk();
                    sleep(PAUSE);
                }
                way
            })
        });
        let threads = threads.collect();
        Talking { end, threads }
    }

    /// What went wrong.
    pub(crate) fn faults(&self) -> Vec<&str> {
        let faults = self.ways.iter().flat_map(|way| &way.faults);
        faults.map(String::as_str).collect()
    }

    /// Datagrams that were sent again.
    pub(crate) fn repeated(&self) -> u64 {
        self.ways.iter().map(|way| way.repeated).sum()
    }
}

impl Talking {
    pub(crate) fn stop(self) -> Live {
        self.end.store(true, Ordering::Relaxed);
        let ways = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap());
        Live {
            ways: ways.collect(),
        }
    }
}

impl Way {
    fn open(place: &Place, to: SocketAddr, datagrams: usize) -> Self {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let connections = (0..EACH).map(|_| Talk::open(place, to).unwrap());
        let datagrams = (0..datagrams).map(|_| {
            let socket = place.udp(any.parse().unwrap()).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(AGAIN.0)).unwrap();
            socket
        });
        Self {
            connections: connections.collect(),
            datagrams: datagrams.collect(),
            ..Self::default()
        }
    }

    fn talk(&mut self) {
        for talk in &mut self.connections {
            if let Err(error) = talk.stream(100) {
                let socket = talk.socket();
                let ends = (socket.local_addr(), socket.peer_addr());
                self.faults.push(format!("connection {ends:?}: {error}"));
            }
        }
        for socket in &self.datagrams {
            match ask(socket) {
                Ok(again) => self.repeated += again,
                Err(error) => {
                    let ends = (socket.local_addr(), socket.peer_addr());
                    self.faults.push(format!("datagrams {ends:?}: {error}"));
                }
            }
        }
    }
}

/// A question and its answer; how often the question was sent again.
fn ask(socket: &UdpSocket) -> io::Result<u64> {
    let mut buffer = [0; 256];
    for again in 0..AGAIN.1 {
        socket.send(b"?")?;
        match socket.recv(&mut buffer) {
            Ok(_) => return Ok(again as u64),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
