//! Offloads of an interface, on or off (`ethtool -K DEV tx off`, SIOCETHTOOL).
//!
//! With that of checksums on, a packet from a local socket crosses a veth with an unfinished one, and arithmetic that
//! is wrong goes unnoticed. Tests therefore also run with it off.
#![expect(unsafe_code, reason = "an ioctl")]

use std::os::fd::AsRawFd as _;

use anyhow::{Result, ensure};
use socket2::{Domain, Type};

use super::place::Place;

/// `ETHTOOL_STXCSUM` of linux/ethtool.h.
const SET_TX_CHECKSUM: u32 = 0x17;
/// `ETHTOOL_SGRO`.
const SET_GRO: u32 = 0x2c;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Turns transmit checksum offload of `device` in `place` on or off.
pub fn set_tx_checksum(place: &Place, device: &str, on: bool) -> Result<()> {
    set(place, device, SET_TX_CHECKSUM, on)
}

/// Turns generic receive offload of `device` in `place` on or off. A veth that has it on takes frames of XDP from its other end.
pub fn set_gro(place: &Place, device: &str, on: bool) -> Result<()> {
    set(place, device, SET_GRO, on)
}

fn set(place: &Place, device: &str, command: u32, on: bool) -> Result<()> {
    ensure!(
        device.len() < libc::IFNAMSIZ,
        "interface name {device} is too long"
    );
    let socket = place.socket(Domain::IPV4, Type::DGRAM)?;
    let mut value = Value {
        command,
        data: u32::from(on),
    };
    // SAFETY: ifreq is plain data, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request and the value that it points to live until the call returns.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    ensure!(
        done == 0,
        "set an offload ({command:#x}) of {device}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}
