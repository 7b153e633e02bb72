//! A server that answers every datagram and remembers none.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;

use crate::world::Place;

/// How often it looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

/// The server; ends when dropped.
#[derive(Debug)]
pub struct Responder {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Serves UDP at an address of a place.
    pub fn start(place: &Place, at: SocketAddr) -> Result<Self> {
        let socket = place.udp(at)?;
        socket.set_read_timeout(Some(TICK))?;
        let end = Arc::<AtomicBool>::default();
        let mine = Arc::clone(&end);
        Ok(Self {
            end,
            thread: Some(thread::spawn(move || serve(&socket, &mine))),
        })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            thread.join().ok();
        }
    }
}

fn serve(socket: &UdpSocket, end: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !end.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // An answer that finds no room is lost, as on any link.
            socket.send_to(&buffer[..length], from).ok();
        }
    }
}
