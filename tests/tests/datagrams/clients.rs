//! Many connected sockets, which ask in rounds.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use socket2::{Domain, SockAddr, Type};
use weir_tests::world::{Cluster, Place, until};

/// What is promised.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a socket waits for its answer in a round.
const ROUND: Duration = Duration::from_millis(50);

/// What all sockets are to see.
pub(crate) enum Expected {
    /// The server of this name.
    Answer(&'static str),
    /// That nobody serves.
    Refused,
}

struct Client {
    what: String,
    socket: UdpSocket,
    asked: u32,
}

#[derive(Default)]
pub(crate) struct Clients(Vec<Client>);

impl Client {
    /// Asks once more; an error of what was sent before is told here too.
    fn ask(&mut self) -> io::Result<()> {
        self.asked += 1;
        self.socket.send(&self.asked.to_be_bytes()).map(drop)
    }

    /// Who answers the last question.
    fn answer(&self) -> io::Result<String> {
        let mut buffer = [0; 64];
        loop {
            let count = self.socket.recv(&mut buffer)?;
            let text = &buffer[..count];
            let Some(name) = text.strip_suffix(&self.asked.to_be_bytes()) else {
                // Of an earlier round.
                continue;
            };
            let name = String::from_utf8_lossy(name);
            return Ok(name.trim_end_matches('\n').to_owned());
        }
    }
}

impl Clients {
    /// A socket of `place`, connected: that fails for nobody.
    pub(crate) fn connect(&mut self, what: &str, place: &Place, to: SocketAddr) {
        let socket = place.socket(Domain::for_address(to), Type::DGRAM).unwrap();
        let any: SocketAddr = if to.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        socket.bind(&SockAddr::from(any)).unwrap();
        let socket = UdpSocket::from(socket);
        let what = format!("{what} {to}");
        socket
            .connect(to)
            .unwrap_or_else(|error| panic!("connect {what}: {error}"));
        socket.set_read_timeout(Some(ROUND)).unwrap();
        self.0.push(Client {
            what,
            socket,
            asked: 0,
        });
    }

    pub(crate) fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Sends something, whatever becomes of it.
    pub(crate) fn speak(&mut self) {
        for client in &mut self.0 {
            client.ask().ok();
        }
    }

    /// One round: what each socket sees.
    fn round(&mut self) -> Vec<io::Result<String>> {
        let asked: Vec<_> = self.0.iter_mut().map(Client::ask).collect();
        let all = self.0.iter().zip(asked);
        all.map(|(client, asked)| asked.and_then(|()| client.answer()))
            .collect()
    }

    fn within(&mut self, cluster: &Cluster, when: &str, is: impl Fn(&io::Result<String>) -> bool) {
        let done = until(when, LIMIT, || {
            let seen = self.round();
            let rest: Vec<String> = self
                .0
                .iter()
                .zip(&seen)
                .filter(|(_, seen)| !is(seen))
                .map(|(client, seen)| format!("{}: {seen:?}", client.what))
                .collect();
            if rest.is_empty() {
                return Ok(Some(()));
            }
            Err(anyhow::anyhow!("{}", rest.join("\n")))
        });
        done.unwrap_or_else(|error| panic!("{error:?}\nagents said:\n{}", cluster.logs()));
    }

    /// Waits, no longer than is promised, until every socket sees this in one round.
    pub(crate) fn become_all(&mut self, cluster: &Cluster, when: &str, expected: &Expected) {
        self.within(cluster, when, |seen| match (expected, seen) {
            (Expected::Answer(name), Ok(seen)) => seen == name,
            (Expected::Refused, Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
            _ => false,
        });
    }

    /// The same, of one of several servers.
    pub(crate) fn answered_by_any(&mut self, cluster: &Cluster, when: &str, names: &[&str]) {
        self.within(cluster, when, |seen| {
            seen.as_ref()
                .is_ok_and(|seen| names.contains(&seen.as_str()))
        });
    }
}
