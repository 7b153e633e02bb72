//! Frames put on a link as they are (`packet(7)`).

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    ifaddrs::getifaddrs,
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, send, socket},
};

use crate::world::Place;

/// A socket that sends whole frames by a device, and receives none.
#[derive(Debug)]
pub struct LinkSocket {
    socket: OwnedFd,
    mac: [u8; 6],
}

impl LinkSocket {
    /// Sends by a device of a place, which is up.
    pub fn open(place: &Place, device: &str) -> Result<Self> {
        let open = || -> Result<Self> {
            setns(place.netns(), CloneFlags::CLONE_NEWNET)?;
            let address = address(device)?;
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                None,
            )?;
            bind(socket.as_raw_fd(), &address)?;
            let mac = address.addr().context("an address of six bytes")?;
            Ok(Self { socket, mac })
        };
        let opened = thread::scope(|scope| scope.spawn(open).join());
        opened
            .map_err(|_panic| anyhow!("opening a socket panicked"))?
            .with_context(|| format!("open a packet socket on {device}"))
    }

    /// The device's own address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Puts a frame on the link.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty())?;
        Ok(())
    }
}

/// Index and hardware address of a device in this thread's network namespace.
fn address(device: &str) -> Result<LinkAddr> {
    let mut all = getifaddrs().context("list interfaces")?;
    let of_link = all.find_map(|interface| {
        let address = interface.address?;
        let address = *address.as_link_addr()?;
        (interface.interface_name == device).then_some(address)
    });
    of_link.with_context(|| format!("no interface {device} with a hardware address"))
}
