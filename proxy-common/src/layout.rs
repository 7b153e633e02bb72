//! What an agent must know of pinned maps before it uses them: aya does not check a pinned map against the object that
//! re-uses it.

/// Number of the schema; part of the pins' path. Raised when entries of the old maps cannot be kept, or mean something else.
pub const SCHEMA: u32 = 2;

/// The code of every module that declares what is in maps. Of its declarations the agent makes hashes, which are pinned
/// beside the maps: a version that declares something more goes on with the maps of one that did not; one that declares the
/// same otherwise does not.
pub const SOURCES: [&str; 22] = [
    include_str!("affinity.rs"),
    include_str!("backends.rs"),
    include_str!("conntrack.rs"),
    include_str!("conntrack/head.rs"),
    include_str!("conntrack/timeouts.rs"),
    include_str!("counters.rs"),
    include_str!("endpoints.rs"),
    include_str!("fragments.rs"),
    include_str!("frontends.rs"),
    include_str!("inside.rs"),
    include_str!("maglev.rs"),
    include_str!("node.rs"),
    include_str!("pace.rs"),
    include_str!("policy/cells.rs"),
    include_str!("policy/intervals.rs"),
    include_str!("policy/peers.rs"),
    include_str!("policy/words.rs"),
    include_str!("route_sources.rs"),
    include_str!("sockets.rs"),
    include_str!("sources.rs"),
    include_str!("tunnel.rs"),
    include_str!("vips.rs"),
];
