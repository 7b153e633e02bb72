//! Sockets on a link (`packet(7)`): what neighbours ask, what other nodes tell, and what is said to both.
//!
//! Not in eBPF: whoever answers must be the one that is elected, and that is the agent's to know. As it is its process answers
//! as long as it lives, hears others and is heard, and not a moment longer; entries in the kernel would go on to answer for a
//! node that others hold for dead. Packets are forwarded by the kernel whoever answers; a neighbour asks once in half a minute
//! or so.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    net::{IpAddr, Ipv6Addr, UdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{LinkAddr, bind, recvfrom},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::{io::Interest, net::UdpSocket as Receiver};

use super::{
    beat,
    frames::{BROADCAST, Mac, arp, ethernet, nd},
};

/// The longest frame that matters.
const FRAME: usize = 2048;

/// What has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Arp(Vec<u8>),
    Nd(Vec<u8>),
    /// Of another node.
    Beat(Vec<u8>),
}

/// A link.
#[derive(Debug)]
pub(super) struct Wire {
    index: u32,
    mac: Mac,
    arp: Receiver,
    nd: Receiver,
    beats: Receiver,
    /// Receives nothing.
    out: Socket,
    /// A socket for each: of one the kernel lets few be joined.
    groups: BTreeMap<Ipv6Addr, UdpSocket>,
}

impl Wire {
    /// Opens a link that is up, in this thread's network namespace. A runtime must be at work.
    pub(super) fn open(name: &str, index: u32) -> io::Result<Self> {
        let link = link(name)?;
        let mac = link.addr().ok_or(ErrorKind::AddrNotAvailable)?;
        let nd = socket(&link, nd::ETHER_TYPE)?;
        nd.attach_filter(&solicitations())?;
        Ok(Self {
            index,
            mac,
            arp: receiver(socket(&link, arp::ETHER_TYPE)?)?,
            nd: receiver(nd)?,
            beats: receiver(socket(&link, beat::ETHER_TYPE)?)?,
            out: socket(&link, 0)?,
            groups: BTreeMap::new(),
        })
    }

    /// Its hardware address.
    pub(super) const fn mac(&self) -> Mac {
        self.mac
    }

    /// The next frame. May be dropped at any time.
    pub(super) async fn next(&self) -> io::Result<Frame> {
        tokio::select! {
            frame = receive(&self.arp, self.index) => frame.map(Frame::Arp),
            frame = receive(&self.nd, self.index) => frame.map(Frame::Nd),
            frame = receive(&self.beats, self.index) => frame.map(Frame::Beat),
        }
    }

    /// Puts a frame on the link. One for which there is no room is lost, as it may be on the way.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        match self.out.send(frame) {
            Err(error) if no_room(&error) => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// Tells all nodes on the link something.
    pub(super) fn tell(&self, content: &[u8]) -> io::Result<()> {
        let mut frame = ethernet(BROADCAST, self.mac, beat::ETHER_TYPE);
        frame.extend(content);
        self.send(&frame)
    }

    /// Listens for solicitations of these addresses, and of no others: the groups to which they are sent are joined.
    pub(super) fn listen(&mut self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        let wanted = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(nd::solicited_node(*ip)),
        });
        let wanted: BTreeSet<Ipv6Addr> = wanted.collect();
        self.groups.retain(|group, _| wanted.contains(group));
        for group in wanted {
            if !self.groups.contains_key(&group) {
                let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))?;
                socket.join_multicast_v6(&group, self.index)?;
                self.groups.insert(group, socket);
            }
        }
        Ok(())
    }
}

fn no_room(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

fn link(name: &str) -> io::Result<LinkAddr> {
    let mut all = getifaddrs()?;
    let found = all.find_map(|interface| {
        let address = *interface.address?.as_link_addr()?;
        (interface.interface_name == name).then_some(address)
    });
    found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no link {name}")))
}

/// A socket for frames of a type, which are nothing else's; with type 0 none come.
fn socket(link: &LinkAddr, kind: u16) -> io::Result<Socket> {
    let protocol = (kind != 0).then(|| Protocol::from(i32::from(kind.to_be())));
    let socket = Socket::new(Domain::PACKET, Type::RAW, protocol)?;
    bind(socket.as_raw_fd(), link)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Tokio watches a socket of any kind as one of UDP, and asks it for nothing.
fn receiver(socket: Socket) -> io::Result<Receiver> {
    Receiver::from_std(UdpSocket::from(OwnedFd::from(socket)))
}

/// The next frame of a link itself: the kernel shows what is of a VLAN on it as well, and what came before the socket was bound.
async fn receive(socket: &Receiver, index: u32) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; FRAME];
    loop {
        socket.readable().await?;
        let read = || Ok(recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame)?);
        match socket.try_io(Interest::READABLE, read) {
            Ok((length, Some(from))) if from.ifindex() == index as usize => {
                frame.truncate(length);
                return Ok(frame);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lets nothing through but solicitations, so that no other packet wakes the agent.
fn solicitations() -> Vec<SockFilter> {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let mut filter = Vec::new();
    let mut left = nd::PLACES.len() as u8;
    for (place, value) in nd::PLACES {
        left -= 1;
        filter.push(SockFilter::new(LOAD_BYTE, 0, 0, place as u32));
        // Else to the last line, past the comparisons that are left and the line that takes all.
        let else_over = 2 * left + 1;
        filter.push(SockFilter::new(JUMP_IF_EQUAL, 0, else_over, value.into()));
    }
    filter.push(SockFilter::new(RETURN, 0, 0, FRAME as u32));
    filter.push(SockFilter::new(RETURN, 0, 0, 0));
    filter
}
