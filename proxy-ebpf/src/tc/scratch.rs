//! Where the packet in hand is described: per CPU, because 512 bytes of stack are few. Programs on one CPU run
//! one after the other, never within each other.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;

use super::packet::Packet;
use crate::maps::{Family, V6};

/// Room for any packet's description.
type Room = [u64; 48];

const _: () = assert!(size_of::<Packet<V6>>() <= size_of::<Room>());

/// The one in hand. Private to one load of the programs.
#[btf_map]
pub static SCRATCH: PerCpuArray<Room, 1> = PerCpuArray::new();

/// The scratch space as an empty packet.
#[inline(always)]
pub fn packet<F: Family>(marks: u8) -> Option<&'static mut Packet<F>> {
    let room: *mut Room = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: large enough and aligned; nobody else on this CPU uses it before this program is done.
    let packet = unsafe { &mut *room.cast::<Packet<F>>() };
    packet.tcp = 0;
    packet.icmp = 0;
    packet.shape = super::packet::WHOLE;
    packet.flow.from_port = 0;
    packet.flow.to_port = 0;
    packet.marks = marks;
    Some(packet)
}

/// The `key` of the packet in hand, as the map's memory: before Linux 6.4, helpers take no key from the memory
/// that a global function was given.
#[inline(always)]
pub fn key<F: Family>() -> Option<&'static F::FlowKey> {
    let room: *mut Room = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: as above; read only while nobody writes it.
    Some(unsafe { &(*room.cast::<Packet<F>>()).key })
}
