//! Servers that answer with their name, and the questions that clients ask them.
//!
//! TCP: the server sends `name\n`, then echoes. UDP: every datagram comes back with `name\n` before it.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Result;
use socket2::{Domain, SockAddr, Type};

use super::{place::Place, talk::Talk};

/// How long a client waits for an answer.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How often a server looks whether it shall end.
const TICK: Duration = Duration::from_millis(100);

/// A server thread; ends when dropped.
pub struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

struct Shared {
    name: String,
    stop: AtomicBool,
    peers: Mutex<Vec<SocketAddr>>,
}

/// What a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Name that the server gave.
    pub name: String,
    /// Rest of the answer (UDP only: the datagram that came back).
    pub payload: Vec<u8>,
    /// Who answered, as the client's socket tells.
    pub peer: SocketAddr,
    /// The client's own address.
    pub local: SocketAddr,
}

impl Server {
    /// Serves TCP at an address of `place`.
    pub fn tcp(place: &Place, address: SocketAddr, name: &str) -> Result<Self> {
        let listener = place.listen(address)?;
        let address = listener.local_addr()?;
        // The listener wakes now and then, to see `stop`.
        socket2::SockRef::from(&listener).set_read_timeout(Some(TICK))?;
        Ok(Self::start(name, address, move |shared| {
            accept_all(&listener, shared);
        }))
    }

    /// Serves UDP at an address of `place`.
    pub fn udp(place: &Place, address: SocketAddr, name: &str) -> Result<Self> {
        let socket = place.udp(address)?;
        let address = socket.local_addr()?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(Self::start(name, address, move |shared| {
            answer_all(&socket, shared);
        }))
    }

    fn start(
        name: &str,
        address: SocketAddr,
        work: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            stop: AtomicBool::new(false),
            peers: Mutex::default(),
        });
        let mine = Arc::clone(&shared);
        Self {
            shared,
            thread: Some(std::thread::spawn(move || work(&mine))),
            address,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Clients so far, as the server saw them.
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.shared
            .peers
            .lock()
            .map(|peers| peers.clone())
            .unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the server thread has been printed; the test fails by its missing answer.
            thread.join().ok();
        }
    }
}

impl Shared {
    fn seen(&self, peer: SocketAddr) {
        if let Ok(mut peers) = self.peers.lock() {
            peers.push(peer);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stopped() {
        if let Ok((stream, peer)) = listener.accept() {
            shared.seen(peer);
            let shared = Arc::clone(shared);
            std::thread::spawn(move || echo(stream, &shared));
        }
    }
}

/// The connection ends when the client ends it or the server is dropped.
fn echo(mut stream: TcpStream, shared: &Shared) {
    stream.set_read_timeout(Some(TICK)).ok();
    if stream
        .write_all(format!("{}\n", shared.name).as_bytes())
        .is_err()
    {
        return;
    }
    let mut buffer = vec![0; 65536];
    while !shared.stopped() {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            Err(error) if is_tick(&error) => {}
            Err(_) => return,
        }
    }
    stream.shutdown(Shutdown::Both).ok();
}

fn answer_all(socket: &UdpSocket, shared: &Arc<Shared>) {
    let mut buffer = vec![0; 65536];
    while !shared.stopped() {
        // Errors are ticks, or ICMP about a client that has gone: neither ends the server.
        let Ok((count, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        shared.seen(peer);
        let mut answer = format!("{}\n", shared.name).into_bytes();
        answer.extend_from_slice(&buffer[..count]);
        socket.send_to(&answer, peer).ok();
    }
}

fn is_tick(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Connects from `place` and reads who answers.
pub fn ask_tcp(place: &Place, address: SocketAddr) -> io::Result<Answer> {
    let talk = Talk::open(place, address)?;
    Ok(Answer {
        name: talk.name().to_owned(),
        payload: Vec::new(),
        peer: talk.socket().peer_addr()?,
        local: talk.socket().local_addr()?,
    })
}

/// Sends one datagram by an unconnected socket (sendto, recvfrom) and reads the answer.
pub fn ask_udp(place: &Place, address: SocketAddr, payload: &[u8]) -> io::Result<Answer> {
    let socket = udp(place, address)?;
    socket.send_to(payload, address)?;
    let mut buffer = vec![0; 65536];
    let (count, peer) = socket.recv_from(&mut buffer)?;
    split(&buffer[..count], peer, socket.local_addr()?)
}

/// Sends one datagram by a connected socket (connect, send, recv) and reads the answer.
pub fn ask_udp_connected(place: &Place, address: SocketAddr, payload: &[u8]) -> io::Result<Answer> {
    let socket = udp(place, address)?;
    socket.connect(address)?;
    socket.send(payload)?;
    let mut buffer = vec![0; 65536];
    let count = socket.recv(&mut buffer)?;
    split(&buffer[..count], socket.peer_addr()?, socket.local_addr()?)
}

fn udp(place: &Place, address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = place
        .socket(Domain::for_address(address), Type::DGRAM)
        .map_err(io::Error::other)?;
    let any: SocketAddr = if address.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    socket.bind(&SockAddr::from(any))?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(socket)
}

fn split(datagram: &[u8], peer: SocketAddr, local: SocketAddr) -> io::Result<Answer> {
    let end = datagram
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer {
        name: String::from_utf8_lossy(&datagram[..end]).into_owned(),
        payload: datagram[end + 1..].to_vec(),
        peer,
        local,
    })
}
