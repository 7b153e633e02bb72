//! Packet tables: a program of the object, maps filled by hand, one packet in, what comes of it.
//!
//! Each [`Bench`] runs in a network namespace of its thread, with real interfaces, routes and neighbours, so
//! that `bpf_fib_lookup` answers as on a node. The programs run by `BPF_PROG_TEST_RUN`; where they redirect to
//! is not visible there, the action, the bytes, the counters and the flows are.

mod bench;
mod fill;
mod flows;
mod frame;
mod maglev;
mod masquerade;
mod pace;
mod plan;
mod policies;
mod relay;
mod seen;
mod sources;
mod spare;

pub use bench::{BACK, Bench, Hook, NEXT, Outcome, REDIRECT, SHOT};
pub use flows::Entry;
pub use frame::{
    Chunk, Tcp, error_about, fragments, icmpv6, other, pieces, ping, sctp, sctp_crc, segment, tcp,
    udp, with_options,
};
pub use masquerade::MASQUERADE;
pub use pace::Timed;
pub use plan::{FAMILIES, Plan, V4, V6};
pub use policies::list;
pub use seen::{Seen, see};
