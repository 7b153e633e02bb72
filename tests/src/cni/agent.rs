//! The plugin's peer: an agent that answers as it is told and remembers what it was asked.

use std::{
    io::BufReader,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use cni_plugin::rpc::{Call, Reply, Request, Response, read_line, write_line};

/// An agent. Its thread ends with the process; its socket goes with the run folder.
#[derive(Debug)]
pub struct FakeAgent {
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<Mutex<Option<Response>>>,
    hang_up: Arc<Mutex<usize>>,
    held: Arc<Mutex<Vec<UnixStream>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeAgent {
    /// Listens and says yes to everything.
    pub fn start(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket).context("bind the agent's socket")?;
        let agent = Self {
            calls: Arc::default(),
            answer: Arc::new(Mutex::new(Some(Response::Ok(Reply {
                endpoint: 1,
                ..Reply::default()
            })))),
            hang_up: Arc::default(),
            held: Arc::default(),
        };
        let (calls, answer) = (Arc::clone(&agent.calls), Arc::clone(&agent.answer));
        let (hang_up, held) = (Arc::clone(&agent.hang_up), Arc::clone(&agent.held));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Ok(request) = read_line::<Request>(&mut BufReader::new(&stream)) else {
                    continue;
                };
                lock(&calls).push(request.call);
                let mut left = lock(&hang_up);
                if *left > 0 {
                    *left -= 1;
                    continue;
                }
                drop(left);
                match &*lock(&answer) {
                    // The plugin may have been killed.
                    Some(response) => drop(write_line(&mut stream, response)),
                    None => lock(&held).push(stream),
                }
            }
        });
        Ok(agent)
    }

    /// What it answers from now on; `None`: nothing, it keeps the plugin waiting.
    pub fn answer(&self, response: Option<Response>) {
        *lock(&self.answer) = response;
    }

    /// Closes the connection of so many questions without an answer, as an agent does that ends.
    pub fn hang_up(&self, times: usize) {
        *lock(&self.hang_up) = times;
    }

    /// Says yes to all that it keeps waiting.
    pub fn release(&self) {
        for mut stream in lock(&self.held).drain(..) {
            // The plugin may have been killed.
            drop(write_line(
                &mut stream,
                &Response::Ok(Reply {
                    endpoint: 1,
                    ..Reply::default()
                }),
            ));
        }
    }

    /// What it was asked so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }
}
