//! Values made of 32-bit words, moved and compared word by word: what the compiler makes of a larger copy or comparison is
//! a call of a loop over bytes.

use core::mem::MaybeUninit;
use core::ptr::{read_volatile, write_volatile};

/// Copies a value.
///
/// # Safety
/// `from` may be read and `to` written; both are aligned to words.
#[inline(always)]
pub unsafe fn copy<T: Copy>(from: *const T, to: *mut T) {
    let (from, to): (*const u32, *mut u32) = (from.cast(), to.cast());
    let mut word = 0;
    while word < size_of::<T>() / 4 {
        // SAFETY: below the size of both.
        unsafe { write_volatile(to.add(word), read_volatile(from.add(word))) };
        word += 1;
    }
}

/// Stores a value of one or two bytes, or of words, which need not be aligned: this machine stores such words.
///
/// # Safety
/// `to` may be written.
#[inline(always)]
pub unsafe fn put<T: Copy>(value: &T, to: *mut T) {
    let from = &raw const *value;
    // SAFETY: both are as large as the value.
    unsafe {
        match size_of::<T>() {
            1 => write_volatile(to.cast(), from.cast::<u8>().read()),
            2 => write_volatile(to.cast(), from.cast::<u16>().read()),
            _ => copy(from, to),
        }
    }
}

/// A copy on the stack: before Linux 6.4 helpers take no key from the memory that a global function was given.
#[inline(always)]
pub fn to_stack<T: Copy>(value: &T) -> T {
    let mut room = MaybeUninit::uninit();
    // SAFETY: a value made of words, of which all are written.
    unsafe {
        copy(&raw const *value, room.as_mut_ptr());
        room.assume_init()
    }
}

/// A number of which the compiler knows nothing: it cannot put two comparisons of it together.
#[inline(always)]
pub fn opaque(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: nothing is done.
        unsafe { core::arch::asm!("{0} += 0", inout(reg) number) };
        number
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box(number)
}

/// Makes a value all zero.
#[inline(always)]
pub fn clear<T: Copy>(value: &mut T) {
    let value: *mut u32 = (&raw mut *value).cast();
    let mut word = 0;
    while word < size_of::<T>() / 4 {
        // SAFETY: below its size; it is made of such words.
        unsafe { write_volatile(value.add(word), 0) };
        word += 1;
    }
}

/// Whether two values are the same.
#[inline(always)]
pub fn same<T: Copy>(one: &T, other: &T) -> bool {
    let (one, other): (*const u32, *const u32) =
        ((&raw const *one).cast(), (&raw const *other).cast());
    let mut difference = 0;
    let mut word = 0;
    while word < size_of::<T>() / 4 {
        // SAFETY: below the size of both, which are made of such words.
        let words = unsafe { one.add(word).read() ^ other.add(word).read() };
        // Not all of them in hand at once: there are few registers, and little stack.
        difference = opaque(difference | u64::from(words));
        word += 1;
    }
    difference == 0
}
