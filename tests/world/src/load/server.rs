//! The server: answers each byte with itself, or swallows a bulk stream.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// First byte of a connection that only sends.
pub(super) const BULK: u8 = b'b';
/// Connections served at a time; no load has more.
const THREADS: usize = 32;
/// Not yet accepted connections: more than all clients can have open.
const BACKLOG: i32 = 1024;

/// Serves until the process is killed. Says so on standard output once it listens.
pub fn serve(address: SocketAddr) -> Result<()> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket
        .bind(&SockAddr::from(address))
        .with_context(|| format!("bind {address}"))?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    writeln!(std::io::stdout(), "listening").context("tell that we listen")?;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| accept(&listener));
        }
    });
    Ok(())
}

fn accept(listener: &TcpListener) {
    let mut buffer = vec![0; 256 * 1024];
    // A failed accept (client gone already) is the client's loss, and counted there.
    for stream in listener.incoming().flatten() {
        // Ends by the client's reset.
        answer(stream, &mut buffer).ok();
    }
}

fn answer(mut stream: TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut count = stream.read(buffer)?;
    let bulk = buffer[0] == BULK;
    while count > 0 {
        if !bulk {
            stream.write_all(&buffer[..count])?;
        }
        count = stream.read(buffer)?;
    }
    if bulk {
        // The client waits for this: only then has everything arrived.
        stream.write_all(&[BULK])?;
    }
    Ok(())
}
