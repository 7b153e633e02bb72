//! `ROUTE_SOURCES4`, `ROUTE_SOURCES6` (LPM TRIE link and destination → address): the source of what is translated on its way out by a
//! link, where that depends on the route. Only asked for links with `LINK_SOURCES_BY_ROUTE`; where there is no entry, or it is
//! unspecified, it is the link's own one ([`crate::node::Link`]).

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Data of a key of `ROUTE_SOURCES*` (the trie's prefix length counts from `link`: 32 + prefix).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteSourceKey<A> {
    /// Interface index; matched whole.
    pub link: u32,
    /// First address of the route's destination.
    pub destination: A,
}

/// Data of a key of `ROUTE_SOURCES4`.
pub type RouteSourceKey4 = RouteSourceKey<Address4>;
/// Data of a key of `ROUTE_SOURCES6`.
pub type RouteSourceKey6 = RouteSourceKey<Address6>;

map_types!(RouteSourceKey4 = 8, RouteSourceKey6 = 20);
