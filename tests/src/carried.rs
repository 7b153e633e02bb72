//! Bytes by the gigabyte, each of which is known by its place.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::world::Place;

/// Length after which the bytes repeat: prime to what packets hold, so that one that is lost or comes twice is seen.
const PERIOD: usize = 251 * 1021;
/// How long nothing may move.
const STILL: Duration = Duration::from_secs(30);

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    Up,
    /// The server.
    Down,
}

/// Carries so many bytes by one connection from `client` to a server at an address of `server`, or back.
pub fn carry(
    client: &Place,
    (server, at): (&Place, SocketAddr),
    direction: Direction,
    count: u64,
) -> Result<()> {
    let listener = server.listen(at)?;
    let near = client
        .connect(at)
        .with_context(|| format!("connect to {at}"))?;
    let (far, _) = listener.accept()?;
    let (from, to) = match direction {
        Direction::Up => (near, far),
        Direction::Down => (far, near),
    };
    thread::scope(|scope| {
        let sender = scope.spawn(move || send(from, count));
        let received = receive(to, count);
        let sent = sender
            .join()
            .map_err(|_panic| anyhow!("sending panicked"))?;
        received.and(sent)
    })
    .with_context(|| format!("{direction:?} {at}"))
}

/// Two periods, so that one begins anywhere in the first.
fn pattern() -> Vec<u8> {
    let period = (0..PERIOD).map(|place| (place % 251 + place / 251) as u8);
    period.clone().chain(period).collect()
}

fn send(mut to: TcpStream, count: u64) -> Result<()> {
    to.set_write_timeout(Some(STILL))?;
    let pattern = pattern();
    let mut left = count;
    while left > 0 {
        let next = left.min(PERIOD as u64);
        to.write_all(&pattern[..next as usize])
            .with_context(|| format!("send, {left} bytes are left"))?;
        left -= next;
    }
    Ok(())
}

fn receive(mut from: TcpStream, count: u64) -> Result<()> {
    from.set_read_timeout(Some(STILL))?;
    let pattern = pattern();
    let mut block = vec![0; PERIOD];
    let mut had = 0;
    loop {
        let got = from
            .read(&mut block)
            .with_context(|| format!("receive, {had} of {count} bytes are there"))?;
        if got == 0 {
            ensure!(had == count, "{had} of {count} bytes came");
            return Ok(());
        }
        let phase = (had % PERIOD as u64) as usize;
        ensure!(
            block[..got] == pattern[phase..phase + got],
            "wrong bytes among those from {had} on"
        );
        had += got as u64;
    }
}
