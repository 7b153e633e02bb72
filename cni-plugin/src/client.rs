//! Asks the agent.

use std::{
    io::{self, BufReader},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    protocol::error::{Error, code},
    rpc::{Call, Reply, Request, Response, read_line, write_line},
};

/// Why the agent did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// It could not be reached, or did not answer in time.
    Unreachable(io::Error),
    /// It answered that it will not.
    Refused(Error),
}

/// Asks once, and waits for the answer until `deadline`. An agent that is just starting again is waited for
/// until `connect`.
pub fn ask(
    socket: &Path,
    call: Call,
    connect: Instant,
    deadline: Instant,
) -> Result<Reply, Failure> {
    let response =
        exchange(socket, &Request::new(call), connect, deadline).map_err(Failure::Unreachable)?;
    match response {
        Response::Ok(reply) => Ok(reply),
        Response::Error(refusal) => Err(Failure::Refused(
            Error::new(refusal.code, refusal.msg).because(refusal.details),
        )),
    }
}

fn exchange(
    socket: &Path,
    request: &Request,
    until: Instant,
    deadline: Instant,
) -> io::Result<Response> {
    let mut stream = connect(socket, until)?;
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left))?;
    stream.set_write_timeout(Some(left))?;
    write_line(&mut stream, request)?;
    read_line(&mut BufReader::new(stream)).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} ms", left.as_millis()),
        ),
        _ => e,
    })
}

fn connect(socket: &Path, until: Instant) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket) {
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
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
