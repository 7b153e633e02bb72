//! Traffic that must not notice what is changed meanwhile: new connections, long-lived ones, datagrams, and somebody whom
//! policy denies.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::world::{Place, Pod, Talk, ask_tcp};

/// New connections a second.
pub const RATE: usize = 1000;
/// One in so many of them must have come about: the machine has other things to do, and what came late is not made up for.
const SHARE: u128 = 4;
/// Threads that make them.
const CLIENTS: usize = 8;
/// Connections that stay open, to each address.
const TALKS: usize = 10;
/// Between two datagrams of a stream.
const BEAT: Duration = Duration::from_millis(2);
/// How long the answer to a datagram may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Who talks to whom.
pub struct Cast<'a> {
    /// Who may.
    pub client: &'a Pod,
    /// Who may not.
    pub stranger: &'a Pod,
    /// Where the Service is reached.
    pub to: &'a [SocketAddr],
    /// Where its pod is reached, by whom policy lets.
    pub denied: &'a [SocketAddr],
}

/// What went on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections that were made and answered.
    pub connections: usize,
    /// Words that came back on long-lived connections.
    pub words: usize,
    /// Datagrams that were answered.
    pub datagrams: usize,
    /// Attempts of the stranger, in vain.
    pub attempts: usize,
    /// How long it went on.
    pub took: Duration,
}

impl Counts {
    /// An error if there was too little of something for it to mean anything, however busy the machine was.
    pub fn suffice(&self) -> Result<()> {
        let counts = [self.words, self.datagrams];
        let enough = counts.iter().all(|count| *count > 100) && self.attempts > 2;
        let wanted = RATE as u128 * self.took.as_millis() / 1000 / SHARE;
        let enough = enough && self.connections as u128 >= wanted;
        ensure!(enough, "too little traffic: {self:?}");
        Ok(())
    }
}

/// Counts of what goes on, and what went wrong.
struct Course {
    began: Instant,
    stop: AtomicBool,
    counts: [AtomicUsize; 4],
    faults: Mutex<Vec<String>>,
}

impl Course {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn count(&self, which: usize) -> usize {
        self.counts[which].fetch_add(1, Ordering::Relaxed)
    }

    fn fault(&self, what: &str) {
        let since = self.began.elapsed();
        self.faults
            .lock()
            .unwrap()
            .push(format!("at {since:.3?}: {what}"));
    }
}

/// Ends the traffic, also when what goes on meanwhile fails.
struct Stop<'a>(&'a Course);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Does something under traffic. An error if any of that fails, or the stranger gets through.
pub fn during<T>(cast: &Cast<'_>, change: impl FnOnce() -> Result<T>) -> Result<(T, Counts)> {
    let course = Course {
        began: Instant::now(),
        stop: AtomicBool::default(),
        counts: Default::default(),
        faults: Mutex::default(),
    };
    let mut talks = Vec::new();
    for to in cast.to {
        for _ in 0..TALKS {
            let talk = Talk::open(cast.client, *to);
            talks.push(talk.with_context(|| format!("open a connection to {to}"))?);
        }
    }
    let began = Instant::now();
    let result = thread::scope(|scope| {
        let end = Stop(&course);
        for number in 0..CLIENTS {
            let course = &course;
            scope.spawn(move || connect(course, cast, number));
        }
        scope.spawn(|| talk(&course, talks));
        for to in cast.to {
            let course = &course;
            scope.spawn(move || stream(course, cast.client, *to));
        }
        scope.spawn(|| intrude(&course, cast));
        // So that it is under way.
        thread::sleep(Duration::from_millis(300));
        let result = change();
        thread::sleep(Duration::from_millis(300));
        drop(end);
        result
    })?;
    let faults = course.faults.into_inner().unwrap_or_default();
    let [connections, words, datagrams, attempts] = course.counts.map(AtomicUsize::into_inner);
    let counts = Counts {
        connections,
        words,
        datagrams,
        attempts,
        took: began.elapsed(),
    };
    ensure!(
        faults.is_empty(),
        "{} faults beside {counts:?}, the first: {:?}",
        faults.len(),
        &faults[..faults.len().min(5)]
    );
    Ok((result, counts))
}

fn connect(course: &Course, cast: &Cast<'_>, number: usize) {
    let pause = Duration::from_secs(1) * CLIENTS as u32 / RATE as u32;
    let mut next = Instant::now() + pause * number as u32 / CLIENTS as u32;
    for to in cast.to.iter().cycle() {
        if !course.goes_on() {
            return;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
        // What came late is not made up for.
        next = (next + pause).max(Instant::now());
        let began = Instant::now();
        match ask_tcp(cast.client, *to) {
            Ok(_) => drop(course.count(0)),
            Err(error) => course.fault(&format!(
                "connection to {to}: {error} after {:?}",
                began.elapsed()
            )),
        }
    }
}

fn talk(course: &Course, mut talks: Vec<Talk>) {
    while course.goes_on() {
        for (number, talk) in talks.iter_mut().enumerate() {
            match talk.echo("still there") {
                Ok(()) => drop(course.count(1)),
                Err(error) => {
                    return course.fault(&format!("long-lived connection {number}: {error}"));
                }
            }
        }
        thread::sleep(BEAT);
    }
}

/// Datagrams with a number, each of which must be answered.
fn stream(course: &Course, client: &Place, to: SocketAddr) {
    let ended = follow(course, client, to);
    if let Err(error) = ended {
        course.fault(&format!("stream to {to}: {error:#}"));
    }
}

fn follow(course: &Course, client: &Place, to: SocketAddr) -> Result<()> {
    let any = match to {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let socket: UdpSocket = client.udp(any.parse()?)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(ANSWER))?;
    let mut buffer = [0; 512];
    while course.goes_on() {
        let number = course.count(2).to_string();
        socket.send(number.as_bytes()).context("send")?;
        let length = socket
            .recv(&mut buffer)
            .with_context(|| format!("answer to datagram {number}"))?;
        let answer = String::from_utf8_lossy(&buffer[..length]);
        ensure!(
            answer.contains(&number),
            "datagram {number} was answered by {answer}"
        );
        thread::sleep(BEAT);
    }
    Ok(())
}

/// Datagrams without end, and connections that must not come about.
fn intrude(course: &Course, cast: &Cast<'_>) {
    while course.goes_on() {
        for to in cast.denied {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let sent = cast.stranger.udp(any.parse().unwrap());
            let sent = sent.and_then(|socket| Ok(socket.send_to(b"let me in", to)?));
            // Whether it arrived, the server knows.
            drop(sent);
            course.count(3);
            if attempt(cast.stranger, *to) {
                course.fault(&format!("the stranger got through to {to}"));
            }
        }
    }
}

/// Whether a connection comes about within a moment.
fn attempt(stranger: &Place, to: SocketAddr) -> bool {
    let kind = (socket2::Domain::for_address(to), socket2::Type::STREAM);
    let Ok(socket) = stranger.socket(kind.0, kind.1) else {
        return false;
    };
    socket
        .connect_timeout(&to.into(), Duration::from_millis(20))
        .is_ok()
}
