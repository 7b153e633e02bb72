//! Short connections by the thousand, each of which must be answered.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};

use crate::{inside::inside, world::Place};

/// Threads of each client, and of the server at each address.
const CLIENTS: usize = 16;
const SERVERS: usize = 8;
/// How long one may take: a segment that is sent again three times is late, not lost.
const LIMIT: Duration = Duration::from_secs(20);
/// How often a server looks whether it shall end.
const TICK: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 4096;

/// Who ends a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The client, by a reset.
    Reset = b'r' as isize,
    /// The client, whose ports are his for a minute then.
    Client = b'c' as isize,
    /// The server, which knows the ports that it has seen for a minute.
    Server = b's' as isize,
}

const ENDS: [End; 3] = [End::Reset, End::Client, End::Server];

/// What goes on.
struct Course<'a> {
    at: &'a [SocketAddr],
    /// How many are to be made.
    count: u64,
    next: AtomicU64,
    ended: AtomicBool,
    lost: Mutex<Vec<String>>,
}

/// Has clients make so many connections to servers at these addresses of `server`, one after the other to each, ended in turn by a reset,
/// by the client and by the server. An error if one of them is not answered.
pub fn connections(
    clients: &[&Place],
    (server, at): (&Place, &[SocketAddr]),
    count: u64,
) -> Result<()> {
    let course = Course {
        at,
        count,
        next: AtomicU64::new(0),
        ended: AtomicBool::new(false),
        lost: Mutex::default(),
    };
    let listeners: Vec<TcpListener> = inside(server, || {
        at.iter().map(|at| listen(*at)).collect::<io::Result<_>>()
    })?;
    thread::scope(|scope| {
        for listener in &listeners {
            for _ in 0..SERVERS {
                scope.spawn(|| serve(listener, &course));
            }
        }
        thread::scope(|scope| {
            for client in clients {
                for _ in 0..CLIENTS {
                    scope.spawn(|| inside(client, || ask(&course)));
                }
            }
        });
        course.ended.store(true, Ordering::Relaxed);
    });
    let lost = course.lost.into_inner().unwrap_or_default();
    ensure!(
        lost.is_empty(),
        "{} of {count} connections were lost: {:?}",
        lost.len(),
        &lost[..lost.len().min(5)]
    );
    Ok(())
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_read_timeout(Some(TICK))?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn serve(listener: &TcpListener, course: &Course<'_>) {
    while !course.ended.load(Ordering::Relaxed) {
        // Errors are ticks; of a connection that fails its client tells.
        if let Ok((stream, _)) = listener.accept() {
            answer(stream).ok();
        }
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    stream.write_all(&word)?;
    if word != [End::Server as u8] {
        // Until the client ends it.
        while stream.read(&mut word)? > 0 {}
    }
    Ok(())
}

fn ask(course: &Course<'_>) {
    loop {
        let number = course.next.fetch_add(1, Ordering::Relaxed);
        if number >= course.count {
            return;
        }
        let turn = number as usize;
        let to = course.at[turn % course.at.len()];
        let end = ENDS[turn / course.at.len() % ENDS.len()];
        if let Err(error) = ask_once(to, end) {
            let what = format!("number {number} to {to}, ended by {end:?}: {error}");
            course.lost.lock().unwrap().push(what);
        }
    }
}

fn ask_once(to: SocketAddr, end: End) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let word = [end as u8];
    stream.write_all(&word)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    if answer != word {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match end {
        End::Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        End::Client => Ok(()),
        End::Server => match stream.read(&mut answer)? {
            0 => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        },
    }
}
