//! An open connection to a [`Server`](super::Server).

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use super::{place::Place, server::ANSWER_LIMIT, until::slowness};

/// How long a stream may stand still: loss on the way is part of some tests.
const STREAM_LIMIT: Duration = Duration::from_secs(10);

/// A connection on which the server has said its name.
#[derive(Debug)]
pub struct Talk {
    stream: BufReader<TcpStream>,
    name: String,
}

impl Talk {
    /// Connects from `place`.
    pub fn open(place: &Place, to: SocketAddr) -> io::Result<Self> {
        Self::over(place.connect(to)?)
    }

    /// Connects from an address of `place` and this port, which others may use as well.
    pub fn open_from(place: &Place, from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        Self::over(place.connect_from(from, to)?)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        let mut talk = Self {
            stream: BufReader::new(stream),
            name: String::new(),
        };
        talk.limit(ANSWER_LIMIT)?;
        talk.stream.read_line(&mut talk.name)?;
        match talk.name.pop() {
            Some('\n') => Ok(talk),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends words, which must come back.
    pub fn echo(&mut self, words: &str) -> io::Result<()> {
        self.exchange(words.as_bytes())
    }

    /// Sends `count` bytes, which must come back.
    pub fn stream(&mut self, count: usize) -> io::Result<()> {
        self.limit(STREAM_LIMIT)?;
        let bytes: Vec<u8> = (0..count).map(|number| (number % 251) as u8).collect();
        self.exchange(&bytes)
    }

    fn limit(&self, limit: Duration) -> io::Result<()> {
        let limit = limit * slowness();
        self.socket().set_read_timeout(Some(limit))?;
        self.socket().set_write_timeout(Some(limit))
    }

    fn exchange(&mut self, sent: &[u8]) -> io::Result<()> {
        let mut writer = self.socket().try_clone()?;
        let mut received = vec![0; sent.len()];
        thread::scope(|scope| {
            // More than the buffers on the way hold.
            let written = scope.spawn(move || writer.write_all(sent));
            self.stream.read_exact(&mut received)?;
            written.join().map_err(|_panic| io::ErrorKind::Other)?
        })?;
        if received != sent {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what came back differs",
            ));
        }
        Ok(())
    }
}
