//! Comparing addresses word by word: `==` on arrays would call `memcmp`, which is a loop in BPF.

/// Whether two addresses, or pairs of them, are the same.
#[inline(always)]
pub fn same<A: Copy>(one: &A, other: &A) -> bool {
    let (one, other): (*const u32, *const u32) =
        ((&raw const *one).cast(), (&raw const *other).cast());
    let mut difference = 0;
    let mut word = 0;
    while word < size_of::<A>() / 4 {
        // SAFETY: below the size of both, which are made of such words.
        difference |= unsafe { one.add(word).read() ^ other.add(word).read() };
        word += 1;
    }
    difference == 0
}
