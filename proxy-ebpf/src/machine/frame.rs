//! Reaching the bytes of a packet, whatever the kernel calls its buffer.

use core::ffi::c_void;

/// Length of an Ethernet header.
pub const ETHERNET: u32 = 14;
/// Ethernet type of IPv4, network order.
pub const ETH_IP: u16 = 0x0800_u16.to_be();
/// Ethernet type of ARP, network order.
pub const ETH_ARP: u16 = 0x0806_u16.to_be();
/// Ethernet types of VLAN tags (802.1Q, 802.1ad), network order.
pub const ETH_VLANS: [u16; 2] = [0x8100_u16.to_be(), 0x88a8_u16.to_be()];
/// Ethernet type of IPv6, network order.
pub const ETH_IPV6: u16 = 0x86dd_u16.to_be();

/// Which checksum of a transport a change goes into.
#[derive(Clone, Copy)]
pub struct Checksum {
    /// Offset in the packet.
    pub at: u32,
    /// UDP: zero stands for no checksum and stays.
    pub may_be_absent: bool,
    /// Its pseudo header has IPv6 addresses.
    pub ipv6: bool,
}

/// A packet's bytes. Offsets count from the first byte that the program sees. A write or a checksum's change that
/// does not succeed answers false and leaves the packet fit only to be dropped.
pub trait Frame: Copy {
    /// Length of the packet, link layer included.
    fn length(self) -> u32;
    /// Reads near the start of the packet, less than 128 bytes in: directly where the bytes are at hand.
    fn read<T: Copy>(self, offset: u32) -> Option<T>;
    /// As [`Self::read`], into place, for values made of words: nothing passes over the stack.
    fn read_to<T: Copy>(self, offset: u32, to: &mut T) -> bool;
    /// Writes near the start of the packet, less than 128 bytes in, one or two bytes or words: directly where the bytes are at
    /// hand. The checksums are the caller's care.
    fn put<T: Copy>(self, offset: u32, value: &T) -> bool;
    /// Reads anywhere.
    fn load<T: Copy>(self, offset: u32) -> Option<T>;
    /// Writes; the checksums are the caller's care.
    fn store<T: Copy>(self, offset: u32, value: &T) -> bool;
    /// As [`Self::store`], for IPv6 addresses that no checksum in the packet makes up for: a sum over the whole packet that
    /// the device has made is kept right.
    fn store_unbalanced<T: Copy>(self, offset: u32, value: &T) -> bool;
    /// Takes a change of the header (`checksum::difference`) into the IPv4 checksum at `offset`.
    fn header_checksum(self, offset: u32, difference: u32) -> bool;
    /// Takes a change of addresses into a transport's checksum.
    fn address_checksum(self, checksum: Checksum, difference: u32) -> Balance;
    /// Takes a change of addresses and one of ports into a transport's checksum near the start of the packet.
    fn tuple_checksum(self, checksum: Checksum, difference: u32, ports: [u32; 2]) -> Balance;
    /// Takes a change of the transport's own bytes (`checksum::difference`) into its checksum.
    fn sum_checksum(self, checksum: Checksum, difference: u32) -> bool;
    /// Takes a change of four of the transport's own bytes into its checksum.
    fn word_checksum(self, checksum: Checksum, old: u32, new: u32) -> bool;
}

/// A packet's buffer as the context of a program, for helpers that ask for it.
pub trait Buffer: Frame {
    /// Whether it is a frame as the driver received it, before the kernel has made a packet of it.
    const XDP: bool;
    /// The context.
    fn context(self) -> *mut c_void;
    /// The interface at whose hook the program runs.
    fn ifindex(self) -> u32;
}

/// What a transport's checksum makes of a change of addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The checksum could not be changed.
    Failed,
    /// Address and checksum make up for each other in a sum over the whole packet: [`Frame::store`].
    Balanced,
    /// They do not: [`Frame::store_unbalanced`].
    Unbalanced,
}
