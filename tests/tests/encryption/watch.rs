//! Who listens on the network between the nodes.

use std::{
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket,
            sockopt::{RcvBufForce, ReceiveTimeout},
        },
        time::{TimeVal, TimeValLike as _},
    },
};
use weir_tests::world::Place;

use super::bed::WIREGUARD;

/// Bytes of packets that wait to be read.
const ROOM: usize = 1 << 25;

/// What went by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Datagrams between the ports of WireGuard.
    pub(super) encrypted: u64,
    /// The first packets that bear a pod's address or a tunnel's port.
    pub(super) clear: Vec<String>,
}

/// A listener on every interface of a place, until it is dropped.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn on(place: &Place) -> Self {
        let (seen, ends) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (told, end) = (Arc::clone(&seen), Arc::clone(&ends));
        let socket = open(place);
        let thread = thread::spawn(move || listen(&socket, &told, &end));
        Self {
            seen,
            ends,
            thread: Some(thread),
        }
    }

    /// What has gone by since this was asked last.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

fn open(place: &Place) -> OwnedFd {
    let open = || {
        setns(place.netns(), CloneFlags::CLONE_NEWNET).unwrap();
        let all = SockProtocol::EthAll;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, all).unwrap();
        setsockopt(&socket, RcvBufForce, &ROOM).unwrap();
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(100)).unwrap();
        socket
    };
    thread::scope(|scope| scope.spawn(open).join()).unwrap()
}

fn listen(socket: &OwnedFd, seen: &Mutex<Seen>, ends: &AtomicBool) {
    let mut frame = vec![0; 1 << 16];
    while !ends.load(Ordering::Relaxed) {
        let Ok(length) = recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) else {
            continue; // Nothing for a while.
        };
        let Some(packet) = Packet::of(&frame[..length]) else {
            continue;
        };
        let mut seen = seen.lock().unwrap();
        if packet.ports == Some([WIREGUARD; 2]) {
            seen.encrypted += 1;
        } else if packet.is_clear() && seen.clear.len() < 8 {
            seen.clear.push(format!("{packet:?}"));
        }
    }
}

/// As much of a packet as matters.
#[derive(Debug)]
struct Packet {
    ends: [IpAddr; 2],
    /// Of a datagram.
    ports: Option<[u16; 2]>,
}

impl Packet {
    fn of(frame: &[u8]) -> Option<Self> {
        let at = |from: usize| -> Option<u16> {
            let bytes = frame.get(from..from + 2)?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        let v4 = |from: usize| -> Option<IpAddr> {
            let bytes: [u8; 4] = frame.get(from..from + 4)?.try_into().ok()?;
            Some(bytes.into())
        };
        let v6 = |from: usize| -> Option<IpAddr> {
            let bytes: [u8; 16] = frame.get(from..from + 16)?.try_into().ok()?;
            Some(bytes.into())
        };
        let (ends, udp, ports) = match at(12)? {
            0x0800 => ([v4(26)?, v4(30)?], frame.get(23)? == &17, 34),
            0x86dd => ([v6(22)?, v6(38)?], frame.get(20)? == &17, 54),
            _ => return None,
        };
        let ports = if udp {
            Some([at(ports)?, at(ports + 2)?])
        } else {
            None
        };
        Some(Self { ends, ports })
    }

    fn is_clear(&self) -> bool {
        let tunnel = self.ports.is_some_and(|ports| ports.contains(&4789));
        tunnel || self.ends.iter().any(is_pods)
    }
}

fn is_pods(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..2] == [10, 244],
        IpAddr::V6(ip) => Ipv6Addr::segments(ip)[..2] == [0xfd00, 0x244],
    }
}
