//! RPC client: asks the agent. Nothing here waits longer than it is told to: a hung agent accepts no more connections, or
//! accepts and never answers.

use std::{
    io::{self, BufReader, Read, Write},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
};

use crate::{
    protocol::error::{Error, code},
    rpc::{Call, Reply, Request, Response, read_line, write_line},
};

/// How long an agent that went away while it was asked is waited for, before it is given up.
const BACK_SOON: Duration = Duration::from_millis(800);
/// How often it is looked whether a silent agent still lives.
const LOOK: Duration = Duration::from_millis(200);

/// Why the agent did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// It could not be reached, or did not answer in time.
    Unreachable(io::Error),
    /// It answered that it will not.
    Refused(Error),
}

/// How long an agent is waited for.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// When to give up to connect.
    pub connect: Instant,
    /// When to give up altogether.
    pub answer: Instant,
    /// Whether it is known to be away, which ends the wait for an answer.
    pub away: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    /// Connects at the first try or not at all, and waits no longer than this.
    pub fn until(answer: Instant) -> Self {
        Self {
            connect: Instant::now(),
            answer,
            away: &|| false,
        }
    }
}

/// Asks once, over a connection of its own.
pub fn ask(socket: &Path, call: Call, patience: Patience<'_>) -> Result<Reply, Failure> {
    let request = Request::new(call);
    let stream = connect_until(socket, patience.connect).map_err(Failure::Unreachable)?;
    exchange(stream, &request, patience)
        .map_err(Failure::Unreachable)
        .and_then(understand)
}

/// Asks over a connection that is there, and once more if the agent ended before it answered: the next one
/// takes the same interface in.
pub fn ask_twice(
    stream: UnixStream,
    socket: &Path,
    call: Call,
    patience: Patience<'_>,
) -> Result<Reply, Failure> {
    let request = Request::new(call);
    let first = exchange(stream, &request, patience);
    let answer = match first {
        Err(e) if is_end(&e) => {
            let soon = patience.answer.min(Instant::now() + BACK_SOON);
            connect_until(socket, soon)
                .and_then(|stream| exchange(stream, &request, patience))
                .map_err(|again| io::Error::new(again.kind(), format!("{e}, then {again}")))
        }
        answer => answer,
    };
    answer.map_err(Failure::Unreachable).and_then(understand)
}

fn understand(response: Response) -> Result<Reply, Failure> {
    match response {
        Response::Ok(reply) => Ok(reply),
        Response::Error(refusal) => Err(Failure::Refused(
            Error::new(refusal.code, refusal.msg).because(refusal.details),
        )),
    }
}

/// The agent ended, or threw the question away unanswered because it is about to.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn exchange(stream: UnixStream, request: &Request, patience: Patience<'_>) -> io::Result<Response> {
    let mut stream = Bounded { stream, patience };
    write_line(&mut stream, request)?;
    read_line(&mut BufReader::new(stream))
}

/// Connects, trying until `until`. A full queue of a hung agent's socket counts as absence.
pub fn connect_until(path: &Path, until: Instant) -> io::Result<UnixStream> {
    loop {
        match try_connect(path) {
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
            result => return result,
        }
    }
}

fn try_connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::EAGAIN) => {
            let why = "it takes no more questions: its queue is full";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
        }
        connected => connected?,
    }
    let stream = UnixStream::from(fd);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A stream that is given up at a moment, however slowly it flows.
struct Bounded<'a> {
    stream: UnixStream,
    patience: Patience<'a>,
}

impl Bounded<'_> {
    /// The longest that the next call may take.
    fn slice(&self) -> io::Result<Duration> {
        if (self.patience.away)() {
            return Err(timed_out("it has stopped showing that it lives"));
        }
        let left = self
            .patience
            .answer
            .saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(timed_out("no answer in time"));
        }
        Ok(left.min(LOOK))
    }
}

fn timed_out(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

impl Read for Bounded<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.slice()?))?;
            match self.stream.read(to) {
                Err(e) if is_pause(&e) => {}
                result => return result,
            }
        }
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.slice()?))?;
            match self.stream.write(from) {
                Err(e) if is_pause(&e) => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error of an agent that does not answer.
pub fn unreachable(socket: &Path, cause: &io::Error) -> Error {
    Error::new(
        code::TRY_AGAIN,
        format!("the weir agent does not answer on {}", socket.display()),
    )
    .because(format!("{cause}; {}", crate::LOGS_HINT))
}
