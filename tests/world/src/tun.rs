//! Links without Ethernet header: a TUN device in each of two places, and threads that carry packets between them.
#![expect(unsafe_code, reason = "an ioctl that makes the device")]

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
};

use super::place::Place;

/// How often the threads look whether they are to end, in milliseconds.
const TICK: u16 = 100;

nix::ioctl_write_ptr_bad!(
    /// `TUNSETIFF`, as the header has it: its number names an `int`, its argument is an `ifreq`.
    tunsetiff,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);

nix::ioctl_write_int_bad!(
    /// `TUNSETLINK`: what the frames of the device are said to be (`ARPHRD_*`).
    tunsetlink,
    nix::request_code_write!(b'T', 205, size_of::<libc::c_int>())
);

/// Two TUN devices whose packets go from one to the other, or one for itself. They go with it.
#[derive(Debug)]
pub struct Tun {
    end: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
    /// Of a device whose packets go nowhere.
    _alone: Option<File>,
}

impl Tun {
    /// Makes one device that says that its frames are of this type (`ARPHRD_*`), without addresses, and not up.
    pub fn of_type(name: &str, place: &Place, kind: i32) -> Result<Self> {
        let device = device(name, place)?;
        // SAFETY: the descriptor is open.
        unsafe { tunsetlink(device.as_raw_fd(), kind) }
            .with_context(|| format!("set the type of {name}"))?;
        Ok(Self {
            end: Arc::default(),
            carriers: Vec::new(),
            _alone: Some(device),
        })
    }

    /// Makes a device of this name in both places, without addresses, and not up.
    pub fn between(name: &str, places: [&Place; 2]) -> Result<Self> {
        let [one, other] = places.map(|place| device(name, place));
        let (one, other) = (Arc::new(one?), Arc::new(other?));
        let end = Arc::new(AtomicBool::new(false));
        let carriers = [(&one, &other), (&other, &one)].map(|(from, to)| {
            let (from, to, end) = (Arc::clone(from), Arc::clone(to), Arc::clone(&end));
            thread::spawn(move || carry(&from, &to, &end))
        });
        Ok(Self {
            end,
            carriers: carriers.into(),
            _alone: None,
        })
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            // One that panicked has said so.
            carrier.join().ok();
        }
    }
}

fn device(name: &str, place: &Place) -> Result<File> {
    thread::scope(|scope| {
        let made = scope.spawn(|| {
            setns(place.netns(), CloneFlags::CLONE_NEWNET)?;
            open(name)
        });
        let made = made
            .join()
            .map_err(|_panic| anyhow!("making {name} panicked"))?;
        made.with_context(|| format!("make TUN device {name}"))
    })
}

fn open(name: &str) -> io::Result<File> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()).take(15) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open and the request lives.
    unsafe { tunsetiff(device.as_raw_fd(), &raw const request) }?;
    Ok(device)
}

/// Until it is to end. A packet that the other side does not take (it is down) is lost, as on any link.
fn carry(from: &File, to: &File, end: &AtomicBool) {
    let mut packet = vec![0; 65536];
    let (mut from, mut to) = (from, to);
    while !end.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(TICK)).unwrap_or(0) == 0 {
            continue;
        }
        match from.read(&mut packet) {
            Ok(length) => drop(to.write(&packet[..length])),
            Err(_down) => thread::sleep(std::time::Duration::from_millis(u64::from(TICK))),
        }
    }
}
