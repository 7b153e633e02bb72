//! Keys of longest-prefix-match tries.
#![expect(unsafe_code, reason = "a key of a map is plain old data")]

/// A key of an `LPM_TRIE`: laid out as the kernel wants it, the length before the data.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix<D> {
    /// How many leading bits of `data` count. For `CIDRS*` this includes the 32 bits of `side`, for
    /// `SOURCES*` those of `service`, for `ROUTE_SOURCES*` those of `link`.
    pub length: u32,
    /// The data.
    pub data: D,
}

// SAFETY: four bytes and plain old data whose alignment is at most four (checked below): no padding.
unsafe impl<D: aya::Pod> aya::Pod for Prefix<D> {}

const _: () = {
    use proxy_common::{
        policy::peers::{CidrKey4, CidrKey6},
        route_sources::{RouteSourceKey4, RouteSourceKey6},
        sources::{SourceKey4, SourceKey6},
    };
    assert!(size_of::<Prefix<RouteSourceKey4>>() == 4 + size_of::<RouteSourceKey4>());
    assert!(size_of::<Prefix<RouteSourceKey6>>() == 4 + size_of::<RouteSourceKey6>());
    assert!(size_of::<Prefix<CidrKey4>>() == 4 + size_of::<CidrKey4>());
    assert!(size_of::<Prefix<CidrKey6>>() == 4 + size_of::<CidrKey6>());
    assert!(size_of::<Prefix<SourceKey4>>() == 4 + size_of::<SourceKey4>());
    assert!(size_of::<Prefix<SourceKey6>>() == 4 + size_of::<SourceKey6>());
};
