//! Where an address stands in a socket call.

use proxy_common::address::mapped;

use super::context::SocketCall;
use crate::maps::{Family, V4, V6};

/// Reads and writes the address of a call.
pub trait Place {
    /// The family whose maps serve it.
    type Family: Family;
    /// The address.
    fn read(call: &SocketCall) -> Address<Self>;
    /// Sets the address.
    fn write(call: &SocketCall, address: Address<Self>);
}

/// Address type of a place.
pub type Address<P> = <<P as Place>::Family as Family>::Address;

/// IPv4 in an IPv4 socket.
pub struct Ip4;
/// IPv6 in an IPv6 socket.
pub struct Ip6;
/// IPv4 in an IPv6 socket, as `::ffff:a.b.c.d`.
pub struct Mapped4;

impl Place for Ip4 {
    type Family = V4;

    #[inline(always)]
    fn read(call: &SocketCall) -> u32 {
        call.address4()
    }

    #[inline(always)]
    fn write(call: &SocketCall, address: u32) {
        call.set_address4(address);
    }
}

impl Place for Ip6 {
    type Family = V6;

    #[inline(always)]
    fn read(call: &SocketCall) -> [u32; 4] {
        call.address6()
    }

    #[inline(always)]
    fn write(call: &SocketCall, address: [u32; 4]) {
        call.set_address6(address);
    }
}

impl Place for Mapped4 {
    type Family = V4;

    #[inline(always)]
    fn read(call: &SocketCall) -> u32 {
        call.address6()[3]
    }

    #[inline(always)]
    fn write(call: &SocketCall, address: u32) {
        call.set_address6(mapped(address));
    }
}

/// Whether an IPv6 address is an IPv4 one, mapped.
#[inline(always)]
pub fn is_mapped(address: [u32; 4]) -> bool {
    let prefix = mapped(0);
    address[0] | address[1] == 0 && address[2] == prefix[2]
}

#[cfg(test)]
mod tests {
    use proxy_common::address::{address4, address6};

    use super::*;

    #[test]
    fn mapped_addresses_are_told_from_others() {
        let v6 = |o: [u16; 8]| {
            let mut bytes = [0; 16];
            for (i, word) in o.into_iter().enumerate() {
                bytes[2 * i..2 * i + 2].copy_from_slice(&word.to_be_bytes());
            }
            address6(bytes)
        };
        assert!(is_mapped(mapped(address4([10, 0, 0, 1]))));
        assert!(is_mapped(v6([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1])));
        assert!(!is_mapped(v6([0, 0, 0, 0, 0, 0, 0, 1])));
        assert!(!is_mapped(v6([0, 0, 0, 0, 0xffff, 0, 0x7f00, 1])));
        assert!(!is_mapped(v6([0xfd00, 0, 0, 0, 0, 0xffff, 0x7f00, 1])));
    }
}
