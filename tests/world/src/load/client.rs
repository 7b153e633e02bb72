//! The client: as many requests as fit into a span of time, from several threads.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::{cpu, histogram::Histogram, server::BULK};

/// What one request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Connect, send a byte, receive a byte, close by reset (which leaves no TIME-WAIT behind).
    Connect,
    /// Send a byte and receive a byte on a connection that stays.
    Request,
    /// Send on one connection as fast as it goes.
    Bulk,
}

/// What to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Kind of load.
    pub kind: Kind,
    /// Where to.
    pub to: SocketAddr,
    /// Threads, each with one connection at a time.
    pub threads: usize,
    /// For how long.
    pub span: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Requests answered; for `Bulk`, bytes that arrived.
    pub count: u64,
    /// Requests that failed (none is normal).
    pub failed: u64,
    /// Seconds from start to end.
    pub seconds: f64,
    /// Busy processor seconds of the whole machine in that time.
    pub cpu_seconds: f64,
    /// Those of the client itself.
    pub own_seconds: f64,
    /// Median time of a request in microseconds.
    pub p50_us: f64,
    /// 99th percentile in microseconds.
    pub p99_us: f64,
}

impl Report {
    /// Requests (or bytes) per second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// Processor microseconds of the whole machine per request.
    pub fn cpu_us_per_request(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.count as f64
    }
}

/// What one thread counted.
#[derive(Default)]
struct Tally {
    count: u64,
    failed: u64,
    times: Histogram,
}

/// Runs a load to its end.
pub fn run(request: &Request) -> Result<Report> {
    // One that must succeed, before anything is counted: a wrong address shall not measure as zero.
    connect_once(request.to).with_context(|| format!("first connection to {}", request.to))?;
    let cpu = cpu::busy()?;
    let own = cpu::of_process(std::process::id())?;
    let start = Instant::now();
    let end = start + request.span;
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..request.threads)
            .map(|_| scope.spawn(move || one(request, end)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_panic| anyhow!("a client panicked"))?
            })
            .collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu::busy()? - cpu;
    let own_seconds = cpu::of_process(std::process::id())? - own;
    let mut sum = Tally::default();
    for tally in tallies {
        let tally = tally?;
        sum.count += tally.count;
        sum.failed += tally.failed;
        sum.times.merge(&tally.times);
    }
    ensure!(sum.count > 0, "nothing got through to {}", request.to);
    Ok(Report {
        count: sum.count,
        failed: sum.failed,
        seconds,
        cpu_seconds,
        own_seconds,
        p50_us: sum.times.percentile(0.5),
        p99_us: sum.times.percentile(0.99),
    })
}

fn one(request: &Request, end: Instant) -> Result<Tally> {
    match request.kind {
        Kind::Connect => Ok(connects(request.to, end)),
        Kind::Request => requests(request.to, end),
        Kind::Bulk => bulk(request.to, end),
    }
}

fn connects(to: SocketAddr, end: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut now = Instant::now();
    while now < end {
        match connect_once(to) {
            Ok(()) => tally.count += 1,
            Err(_) => tally.failed += 1,
        }
        let done = Instant::now();
        tally.times.add(done - now);
        now = done;
    }
    tally
}

fn connect_once(to: SocketAddr) -> std::io::Result<()> {
    let mut stream = open(to)?;
    let mut answer = [0];
    stream.write_all(b"c")?;
    stream.read_exact(&mut answer)?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

fn open(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn requests(to: SocketAddr, end: Instant) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut stream = open(to)?;
    let mut answer = [0];
    let mut now = Instant::now();
    while now < end {
        stream.write_all(b"r").context("send a request")?;
        stream.read_exact(&mut answer).context("read an answer")?;
        let done = Instant::now();
        tally.times.add(done - now);
        tally.count += 1;
        now = done;
    }
    Ok(tally)
}

fn bulk(to: SocketAddr, end: Instant) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut stream = open(to)?;
    let buffer = vec![BULK; 256 * 1024];
    while Instant::now() < end {
        stream.write_all(&buffer).context("send in bulk")?;
        tally.count += buffer.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    stream.read_exact(&mut [0]).context("wait for arrival")?;
    Ok(tally)
}
