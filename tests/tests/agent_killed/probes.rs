//! What goes on all the time: whoever is served and allowed must be, whoever is denied must not.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    thread::{self, Scope},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use weir_tests::world::{Place, Pod, Talk, ask_tcp, cluster::POD_PORT};

use super::bed::{NODE_PORT, Pods};

/// Datagrams from one port.
const OF_A_FLOW: u8 = 20;
/// The first port of datagrams, and how many each probe has.
const PORTS: u16 = 40_000;
const PORTS_OF_A_PROBE: u16 = 1_000;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the probes have seen.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// A datagram that is not answered is sent again, and a connection that does not come about is tried again, so often.
    again: usize,
    stop: AtomicBool,
    answered: AtomicU64,
    tried: AtomicU64,
    senders: AtomicU16,
    faults: Mutex<Vec<String>>,
}

/// Ends the probes, also when what goes on meanwhile fails.
pub(crate) struct Ends<'a>(pub(crate) &'a Probes);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

impl Probes {
    /// Where no flow may begin for a while.
    pub(crate) fn that_send_again() -> Self {
        Self {
            again: 4,
            ..Self::default()
        }
    }

    /// Begins all of them.
    pub(crate) fn begin<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        pods: &'scope Pods,
        outside: &'scope Place,
    ) {
        let port = |ip| SocketAddr::new(ip, 80);
        let [stay, alpha, beta] = [10, 11, 12].map(|number| Pods::vips(number).map(port));
        let any = ["web", "other"];
        for to in stay {
            scope.spawn(move || self.asks(&pods.friend, to, &any));
            scope.spawn(move || self.sends(&pods.friend, to, &any));
            scope.spawn(move || self.talks(&pods.friend, to));
            scope.spawn(move || self.asks(pods.friend.node(), to, &any));
        }
        for to in alpha {
            scope.spawn(move || self.sends(&pods.friend, to, &any[..1]));
            scope.spawn(move || self.asks(&pods.friend, to, &any[..1]));
        }
        for to in beta {
            scope.spawn(move || self.sends(&pods.friend, to, &any[1..]));
            scope.spawn(move || self.asks(&pods.friend, to, &any[1..]));
        }
        for to in pods.web.at(POD_PORT) {
            scope.spawn(move || self.sends(&pods.friend, to, &any[..1]));
        }
        let node = SocketAddr::new(pods.friend.node().ipv4().into(), NODE_PORT);
        scope.spawn(move || self.asks(outside, node, &any));
        scope.spawn(move || self.sends(outside, node, &any));
        scope.spawn(move || self.intrudes(&pods.stranger, &[pods.web.at(POD_PORT), stay].concat()));
        scope.spawn(move || self.connects(&pods.stranger, pods.web.at(POD_PORT)[0]));
    }

    /// What has been wrong; and the probes must have been at work.
    pub(crate) fn judge(&self, pods: &Pods) -> Result<()> {
        let is_well = self.told().is_empty();
        if !is_well {
            // Who waits for an answer tells it late.
            thread::sleep(PATIENCE * 2);
        }
        ensure!(is_well, "{}", self.told().join("\n"));
        let intruders = pods.intruders();
        ensure!(
            intruders.is_empty(),
            "the stranger got through: {intruders:?}"
        );
        Ok(())
    }

    fn told(&self) -> MutexGuard<'_, Vec<String>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers and attempts so far.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [&self.answered, &self.tried].map(|count| count.load(Ordering::SeqCst))
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn fault(&self, what: String) {
        self.told().push(what);
    }

    /// New connections.
    fn asks(&self, place: &Place, to: SocketAddr, allowed: &[&str]) {
        while self.goes_on() {
            let began = SystemTime::now();
            let answer = self.ask(place, to);
            self.note(
                &format!("a new connection at {} to {to}", time(began)),
                answer,
                allowed,
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Datagrams, some of each flow: there are not as many tuples as a long run would need.
    fn sends(&self, place: &Place, to: SocketAddr, allowed: &[&str]) {
        // The world's sockets may share a port, so each probe has its own ones.
        let first = PORTS + self.senders.fetch_add(1, Ordering::SeqCst) * PORTS_OF_A_PROBE;
        let mut ports = (first..first + PORTS_OF_A_PROBE).cycle();
        while self.goes_on()
            && let Some(port) = ports.next()
        {
            let socket = match socket(place, port, to) {
                Ok(socket) => socket,
                Err(error) => return self.fault(format!("no socket to {to}: {error}")),
            };
            for number in 0..OF_A_FLOW {
                let began = SystemTime::now();
                let answer = self.exchange(&socket, to, number);
                let what = format!(
                    "datagram {number} at {} from port {port} to {to}",
                    time(began)
                );
                self.note(&what, answer, allowed);
                thread::sleep(Duration::from_millis(4));
            }
        }
    }

    fn ask(&self, place: &Place, to: SocketAddr) -> io::Result<String> {
        let ask = || ask_tcp(place, to).map(|answer| answer.name);
        for _ in 0..self.again {
            let answer = ask();
            let waits = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
            if !answer.as_ref().is_err_and(waits) {
                return answer;
            }
        }
        ask()
    }

    fn exchange(&self, socket: &UdpSocket, to: SocketAddr, number: u8) -> io::Result<String> {
        for _ in 0..self.again {
            let answer = exchange(socket, to, number);
            let lost = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            if !answer.as_ref().is_err_and(lost) {
                return answer;
            }
        }
        exchange(socket, to, number)
    }

    fn note(&self, what: &str, answer: io::Result<String>, allowed: &[&str]) {
        match answer {
            Ok(name) if allowed.contains(&name.as_str()) => {
                self.answered.fetch_add(1, Ordering::SeqCst);
            }
            Ok(name) => self.fault(format!("{what} went to {name}")),
            Err(error) => self.fault(format!("{what}: {error}")),
        }
    }

    /// One connection all the time.
    fn talks(&self, place: &Place, to: SocketAddr) {
        let mut talk = match Talk::open(place, to) {
            Ok(talk) => talk,
            Err(error) => return self.fault(format!("no connection to {to}: {error}")),
        };
        while self.goes_on() {
            let began = SystemTime::now();
            if let Err(error) = talk.echo("still there") {
                let (name, at) = (talk.name(), time(began));
                return self.fault(format!(
                    "the open connection to {name} by {to} at {at}: {error}"
                ));
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Datagrams that must not arrive; the servers know who came.
    fn intrudes(&self, stranger: &Pod, to: &[SocketAddr]) {
        let v4 = stranger.udp((Ipv4Addr::UNSPECIFIED, 0).into());
        let v6 = stranger.udp((Ipv6Addr::UNSPECIFIED, 0).into());
        let (Ok(v4), Ok(v6)) = (v4, v6) else {
            return self.fault("the stranger has no sockets".to_owned());
        };
        while self.goes_on() {
            for to in to {
                let socket = if to.is_ipv4() { &v4 } else { &v6 };
                // An error may be told by an earlier one.
                if socket.send_to(b"let me in", to).is_ok() {
                    self.tried.fetch_add(1, Ordering::SeqCst);
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn connects(&self, stranger: &Pod, to: SocketAddr) {
        while self.goes_on() {
            if ask_tcp(stranger, to).is_ok() {
                self.fault(format!("the stranger is connected to {to}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn socket(place: &Place, port: u16, to: SocketAddr) -> Result<UdpSocket> {
    let from: SocketAddr = if to.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, port).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, port).into()
    };
    let socket = place.udp(from)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Who answers a datagram.
fn exchange(socket: &UdpSocket, to: SocketAddr, number: u8) -> io::Result<String> {
    socket.send_to(&[number], to)?;
    let mut buffer = [0; 64];
    let (length, peer) = socket.recv_from(&mut buffer)?;
    let answer = buffer[..length].strip_suffix(&[b'\n', number]);
    match answer.map(String::from_utf8_lossy) {
        Some(name) if peer == to => Ok(name.into_owned()),
        _ => Err(io::Error::other(format!(
            "an odd answer from {peer}: {:?}",
            &buffer[..length]
        ))),
    }
}

/// As in the agent's log.
fn time(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}
