//! Transmit checksum offload of an interface, on or off (`ethtool -K DEV tx off`, SIOCETHTOOL).
//!
//! With it on, a packet from a local socket crosses a veth with an unfinished checksum, and arithmetic that
//! is wrong goes unnoticed. Tests therefore also run with it off.
#![expect(unsafe_code, reason = "an ioctl")]

use std::os::fd::AsRawFd as _;

use anyhow::{Result, ensure};
use socket2::{Domain, Type};

use super::place::Place;

/// `ETHTOOL_STXCSUM` of linux/ethtool.h.
const SET_TX_CHECKSUM: u32 = 0x17;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Turns transmit checksum offload of `device` in `place` on or off.
pub fn set_tx_checksum(place: &Place, device: &str, on: bool) -> Result<()> {
    ensure!(
        device.len() < libc::IFNAMSIZ,
        "interface name {device} is too long"
    );
    let socket = place.socket(Domain::IPV4, Type::DGRAM)?;
    let mut value = Value {
        command: SET_TX_CHECKSUM,
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
        "set tx checksum offload of {device}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}
