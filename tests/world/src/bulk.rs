//! As many bytes as get through, and when.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::Place;

/// The transports that are measured.
pub const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Udp];

/// How bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One connection.
    Tcp,
    /// Datagrams of 1200 bytes, each with an end of its own.
    Udp,
}

/// Bytes on their way.
pub struct Way<'a> {
    /// Who sends.
    pub from: &'a Place,
    /// Where: an address of `to`, or of a Service in front of it.
    pub to: SocketAddr,
    /// Who receives.
    pub at: &'a Place,
    /// On which port.
    pub port: u16,
}

/// What came, in pieces: after what time since the first byte was sent, and how much.
#[derive(Debug)]
pub struct Arrived(Vec<(Duration, u64)>);

impl Arrived {
    /// Bytes that came until then.
    pub fn until(&self, time: Duration) -> u64 {
        let pieces = self.0.iter();
        pieces
            .take_while(|(at, _)| *at <= time)
            .map(|(_, n)| n)
            .sum()
    }
}

/// How long nothing may come before the receiver looks whether the time is over.
const PAUSE: Duration = Duration::from_millis(50);

/// Sends for some time as fast as it goes.
pub fn send(way: &Way<'_>, transport: Transport, time: Duration) -> Result<Arrived> {
    let any = if way.to.is_ipv4() { "0.0.0.0" } else { "[::]" };
    let listen: SocketAddr = format!("{any}:{}", way.port).parse()?;
    let over = AtomicBool::new(false);
    match transport {
        Transport::Tcp => {
            let listener = way.at.listen(listen)?;
            let stream = way
                .from
                .connect(way.to)
                .with_context(|| way.to.to_string())?;
            let began = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| pour(stream, began, time));
                receive(&listener, began, time)
            })
        }
        Transport::Udp => {
            let receiver = way.at.udp(listen)?;
            let sender = way.from.udp(format!("{any}:0").parse()?)?;
            sender.connect(way.to)?;
            let began = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| throw(&sender, &over));
                let arrived = collect(&receiver, began, time);
                over.store(true, Ordering::Relaxed);
                arrived
            })
        }
    }
}

fn pour(mut stream: TcpStream, began: Instant, time: Duration) {
    let block = vec![7; 64 << 10];
    stream.set_write_timeout(Some(PAUSE)).ok();
    while began.elapsed() < time {
        match stream.write(&block) {
            Err(error) if !is_pause(&error) => return,
            _ => {}
        }
    }
    // What waits in the queue shall not be in the way of what is measured next.
    let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(linger);
}

fn receive(listener: &TcpListener, began: Instant, time: Duration) -> Result<Arrived> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PAUSE))?;
    let mut block = vec![0; 256 << 10];
    take(began, time, || stream.read(&mut block))
}

/// A queue that is full makes the sender wait only where that is the sender's own.
fn throw(sender: &UdpSocket, over: &AtomicBool) {
    let block = [7; 1200];
    while !over.load(Ordering::Relaxed) {
        for _ in 0..10 {
            sender.send(&block).ok();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn collect(receiver: &UdpSocket, began: Instant, time: Duration) -> Result<Arrived> {
    receiver.set_read_timeout(Some(PAUSE))?;
    let mut block = [0; 2048];
    take(began, time, || receiver.recv(&mut block))
}

fn take(
    began: Instant,
    time: Duration,
    mut read: impl FnMut() -> std::io::Result<usize>,
) -> Result<Arrived> {
    let mut pieces = Vec::new();
    while began.elapsed() < time {
        match read() {
            Ok(0) => break,
            Ok(n) => pieces.push((began.elapsed(), n as u64)),
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Arrived(pieces))
}

fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
