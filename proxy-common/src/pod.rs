//! Plain old data: what may be copied to and from a map byte by byte.

/// Marks map types as [`aya::Pod`] in user space and pins their size at compile time.
macro_rules! map_types {
    ($($type:ty = $size:literal),+ $(,)?) => {$(
        const _: () = assert!(core::mem::size_of::<$type>() == $size);
        // SAFETY: repr(C), Copy, made of integers only, with explicit padding: every byte pattern is valid
        // and no byte is uninitialised.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $type {}
    )+};
}

pub(crate) use map_types;
