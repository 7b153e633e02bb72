//! Room per CPU, because 512 bytes of stack are few. A program at an interface has it to itself: it runs with bottom
//! halves off, and one such program does not run within another.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;

/// Room for what one program has in hand.
type Room = [u64; 96];

/// The room. Private to one load of the programs.
#[btf_map]
pub static SCRATCH: PerCpuArray<Room, 1> = PerCpuArray::new();

/// The room as a value made of integers; what stands in it is what the last program left.
#[inline(always)]
pub fn room<T>() -> Option<&'static mut T> {
    const { assert!(size_of::<T>() <= size_of::<Room>() && align_of::<T>() <= align_of::<Room>()) };
    let room: *mut Room = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: large enough and aligned; nobody else on this CPU uses it before this program is done.
    Some(unsafe { &mut *room.cast::<T>() })
}
