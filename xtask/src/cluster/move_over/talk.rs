//! One connection that lives long: a question every moment, and each answer counted into a file.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Longer than the kernel needs to send a lost packet again several times.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(150);

/// Talk over one connection until killed.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cluster) struct Talk {
    /// A server of upstream's test program.
    server: SocketAddr,
    /// Where answers are counted.
    count: PathBuf,
}

/// What a connection has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Answers.
    pub(super) answers: u64,
    /// The longest wait for one, in milliseconds.
    pub(super) longest: u64,
}

impl Seen {
    /// Of a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (answers, longest) = text.split_once(' ')?;
        Some(Self {
            answers: answers.parse().ok()?,
            longest: longest.parse().ok()?,
        })
    }
}

impl Talk {
    /// Talks; returns only with an error.
    pub(in crate::cluster) fn run(&self) -> Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.server, PATIENCE)
            .with_context(|| format!("cannot connect to {}", self.server))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut seen = Seen::default();
        loop {
            let started = Instant::now();
            ask(&mut stream, seen.answers).with_context(|| {
                format!(
                    "lost the connection to {} after {}",
                    self.server, seen.answers
                )
            })?;
            let waited = u64::try_from(started.elapsed().as_millis())?;
            seen = Seen {
                answers: seen.answers + 1,
                longest: seen.longest.max(waited),
            };
            // By rename: who reads finds the former or the new one.
            let fresh = self.count.with_extension("new");
            fs::write(&fresh, format!("{} {}", seen.answers, seen.longest))?;
            fs::rename(&fresh, &self.count)?;
            thread::sleep(PAUSE);
        }
    }
}

fn ask(stream: &mut TcpStream, number: u64) -> Result<()> {
    let word = format!("word{number:010}.");
    let question = format!("GET /echo?msg={word} HTTP/1.1\r\nHost: move-over\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 2048];
    while !answer.ends_with(word.as_bytes()) {
        let got = stream.read(&mut part)?;
        ensure!(got > 0, "the server has closed it");
        answer.extend_from_slice(&part[..got]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let seen = Seen::parse("12 340");
        assert_eq!(seen.map(|it| (it.answers, it.longest)), Some((12, 340)));
        assert_eq!(Seen::parse(""), None);
    }
}
