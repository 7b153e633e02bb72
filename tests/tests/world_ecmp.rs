//! Three nodes behind a router that spreads flows over them (ECMP) and changes its mind, and a node that dies in the middle of
//! many downloads: those whose backend is on another node go on, whichever node they came by.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::Duration,
};

use serde_json::json;
use weir_tests::world::{
    Cluster, Place, Pod, ask_tcp,
    cluster::{POD_PORT, SERVICE_PORT},
    until,
};

const VIPS: [&str; 2] = ["198.51.100.80", "2001:db8:51::80"];
const NODES: [&str; 3] = ["a", "b", "c"];
/// The node that dies.
const DIES: usize = 2;
/// Pods of each node.
const PODS: usize = 2;
/// Downloads, half of them by each family.
const DOWNLOADS: usize = 1000;
/// What a server sends of a download at once, and how often.
const PIECE: usize = 4096;
const PAUSE: Duration = Duration::from_millis(100);
/// How far all that can get on do, after each change.
const FURTHER: u64 = 8 * PIECE as u64;
const PATIENCE: Duration = Duration::from_mins(1);
/// A download that gets nothing for so long has broken.
const BROKEN: Duration = Duration::from_secs(30);
/// The last line of a download.
const END: &[u8] = b"end\n";

/// A server of downloads: they last until it is told to end them.
struct Library {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Library {
    fn open(pods: &[Pod]) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let at = |pod: &Pod| pod.at(POD_PORT).map(|at| pod.listen(at).unwrap());
        let listeners = pods
            .iter()
            .flat_map(|pod| at(pod).map(|it| (it, pod.name())));
        let threads = listeners
            .map(|(listener, name)| {
                let (ends, name) = (Arc::clone(&ends), name.to_owned());
                thread::spawn(move || lend(&listener, &name, &ends))
            })
            .collect();
        Self { ends, threads }
    }

    /// Ends all downloads.
    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

fn lend(listener: &TcpListener, name: &str, ends: &Arc<AtomicBool>) {
    // It wakes now and then, to see whether it is to end.
    socket2::SockRef::from(listener)
        .set_read_timeout(Some(PAUSE))
        .unwrap();
    let mut threads = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            let (name, ends) = (name.to_owned(), Arc::clone(ends));
            // A reader that has gone is the reader's affair.
            threads.push(thread::spawn(move || send(stream, &name, &ends).ok()));
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

fn send(mut stream: TcpStream, name: &str, ends: &AtomicBool) -> io::Result<()> {
    stream.set_write_timeout(Some(BROKEN))?;
    writeln!(stream, "{name}")?;
    while !ends.load(Ordering::Relaxed) {
        stream.write_all(&[b'.'; PIECE])?;
        sleep(PAUSE);
    }
    stream.write_all(END)
}

/// A download.
struct Download {
    server: String,
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

impl Download {
    fn begin(place: &Place, from: SocketAddr) -> io::Result<Self> {
        let stream = place.connect(from)?;
        stream.set_read_timeout(Some(BROKEN))?;
        let mut stream = BufReader::new(stream);
        let mut server = String::new();
        stream.read_line(&mut server)?;
        let bytes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&bytes);
        Ok(Self {
            server: server.trim_end().to_owned(),
            bytes,
            thread: thread::spawn(move || read(stream, &count)),
        })
    }

    fn got(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether its server is on a node, as the name says.
    fn is_at(&self, node: usize) -> bool {
        self.server.starts_with(&format!("{}-", NODES[node]))
    }
}

fn read(mut stream: BufReader<TcpStream>, count: &AtomicU64) -> io::Result<()> {
    let mut buffer = [0; PIECE];
    let mut last = Vec::new();
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return if last.ends_with(END) {
                Ok(())
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        count.fetch_add(read as u64, Ordering::Relaxed);
        last.extend_from_slice(&buffer[..read]);
        last.drain(..last.len().saturating_sub(END.len()));
    }
}

struct Bed {
    pods: Vec<Pod>,
    cluster: Cluster,
}

impl Bed {
    fn start() -> Self {
        let flags = ["--load-balancer-mode", "dsr"];
        let cluster = Cluster::start("ecmp", &NODES, &flags).unwrap();
        let numbers = (0..NODES.len()).flat_map(|node| (0..PODS).map(move |number| (node, number)));
        let pods = numbers.map(|(node, number)| {
            let name = format!("{}-{number}", NODES[node]);
            cluster.pod(node, &name).unwrap()
        });
        let bed = Self {
            pods: pods.collect(),
            cluster,
        };
        let spec = json!({
            "type": "LoadBalancer",
            "ports": [{ "name": "tcp", "protocol": "TCP", "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": 30080 }],
            "status": { "loadBalancer": { "ingress": VIPS.map(|ip| json!({ "ip": ip })) } },
        });
        let pods: Vec<&Pod> = bed.pods.iter().collect();
        bed.cluster.service("web", 80, &pods, &spec).unwrap();
        for family in ["ipv4", "ipv6"] {
            let policy = format!("net.{family}.fib_multipath_hash_policy=1");
            bed.router().run(&["sysctl", "-qw", &policy]).unwrap();
        }
        bed
    }

    /// Clients are the router's own: each of its flows is one of a client.
    fn router(&self) -> &Place {
        self.cluster.world().outside()
    }

    /// Spreads flows over these nodes, each with a weight.
    fn spread(&self, over: &[(usize, u32)]) {
        for (family, vip) in VIPS.into_iter().enumerate() {
            let mut words = vec!["route".to_owned(), "replace".to_owned(), vip.to_owned()];
            for (node, weight) in over {
                let via = self.cluster.node(*node).addresses()[family];
                let hop = format!("nexthop via {via} weight {weight}");
                words.extend(hop.split(' ').map(str::to_owned));
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.router().run(&[&["ip"], &words[..]].concat()).unwrap();
        }
    }

    /// Waits until each node serves both addresses.
    fn await_nodes(&self) {
        for (node, name) in NODES.iter().enumerate() {
            self.spread(&[(node, 1)]);
            for at in vips() {
                until(&format!("{at} by {name}"), PATIENCE, || {
                    Ok(ask_tcp(self.router(), at).ok())
                })
                .unwrap();
            }
        }
    }

    /// Begins all, from several threads, as flows of all nodes.
    fn download(&self) -> Vec<Download> {
        let begin = |number: usize| {
            let at = vips()[number % 2];
            Download::begin(self.router(), at).unwrap_or_else(|error| panic!("{at}: {error}"))
        };
        thread::scope(|scope| {
            let parts = (0..8).map(|part| {
                scope.spawn(move || (part..DOWNLOADS).step_by(8).map(begin).collect::<Vec<_>>())
            });
            let parts: Vec<_> = parts.collect();
            parts
                .into_iter()
                .flat_map(|part| part.join().unwrap())
                .collect()
        })
    }

    /// Flows by a node that it hands to the backends of others.
    fn relayed(&self, node: usize) -> usize {
        let dump = self
            .cluster
            .agent(node)
            .proxyctl(&["dump", "conntrack", "-o", "wide"]);
        dump.unwrap().matches("relayed").count()
    }
}

fn vips() -> [SocketAddr; 2] {
    VIPS.map(|ip| SocketAddr::new(ip.parse().unwrap(), SERVICE_PORT))
}

/// Which of these get on; those that can have the time to.
fn get_on(downloads: &[Download], can: impl Fn(&Download) -> bool) -> Vec<bool> {
    let before: Vec<u64> = downloads.iter().map(Download::got).collect();
    let on = || {
        let pairs = downloads.iter().zip(&before);
        pairs.map(|(it, before)| (it, it.got() >= before + FURTHER))
    };
    let waited = until("all that can to get on", BROKEN, || {
        Ok(on().all(|(it, on)| on || !can(it)).then_some(()))
    });
    // What does not is counted.
    drop(waited);
    on().map(|(_, on)| on).collect()
}

#[test]
fn downloads_go_on_when_a_node_dies_and_the_router_changes_its_mind() {
    let bed = Bed::start();
    let library = Library::open(&bed.pods);
    bed.await_nodes();
    bed.spread(&[(0, 1), (1, 1), (2, 1)]);
    let downloads = bed.download();
    let by_the_dead = bed.relayed(DIES);
    assert!(by_the_dead > DOWNLOADS / 8, "{by_the_dead} came by it");
    for (node, name) in NODES.iter().enumerate() {
        let there = downloads.iter().filter(|it| it.is_at(node)).count();
        assert!(there > DOWNLOADS / 8, "{there} at {name}");
    }

    // The fabric changes without a fault: nothing is lost at all.
    for over in [[(0, 1), (1, 3), (2, 2)], [(2, 5), (1, 1), (0, 1)]] {
        bed.spread(&over);
        let on = get_on(&downloads, |_| true);
        let lost = on.iter().filter(|on| !**on).count();
        assert_eq!(lost, 0, "of {} with {over:?}", on.len());
    }

    let dead = bed.cluster.node(DIES);
    dead.run(&["ip", "link", "set", "eth0", "down"]).unwrap();
    bed.spread(&[(0, 1), (1, 1)]);
    let on = get_on(&downloads, |it| !it.is_at(DIES));
    let (mut lost, mut lived) = (0, 0);
    for (download, on) in downloads.iter().zip(on) {
        match (download.is_at(DIES), on) {
            (false, true) => lived += 1,
            (false, false) => lost += 1,
            (true, on) => assert!(!on, "{} is dead", download.server),
        }
    }
    println!("{lived} of {} that could live lived", lived + lost);
    assert!(lost * 100 <= lived + lost, "{lost} lost, {lived} lived");

    // What lived ends as it should.
    dead.run(&["ip", "link", "set", "eth0", "up"]).unwrap();
    library.end();
    let ended = downloads.into_iter().filter(|it| !it.is_at(DIES));
    let broken = ended.filter_map(|it| it.thread.join().unwrap().err());
    assert!(broken.count() <= lost);
}
