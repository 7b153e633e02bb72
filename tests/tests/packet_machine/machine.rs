//! What the model is compared with.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use weir_tests::flow_table::{Dump, Record, Tuple};

use super::{
    packet::Packet,
    world::{Change, World},
};

/// What came of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Dropped, for this reason.
    Dropped(&'static str),
    /// Gone, but not lost: a fragment that waits for the first one.
    Held,
    /// Left to the host's stack.
    Left(Form),
    /// Sent on past it.
    Redirected(Form),
    /// Its sender is told that there is nobody.
    Refused,
}

/// A packet as it left. Ports are 0 where it shows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// Of an ICMP error: the ends of the packet that it quotes.
    pub(crate) quoted: Option<(SocketAddr, SocketAddr)>,
}

impl Form {
    /// Source and destination without ports.
    pub(crate) const fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.from.ip(), self.to.ip())
    }
}

/// A datapath.
pub(crate) trait Machine {
    /// Puts a packet in.
    fn put(&mut self, packet: &Packet) -> Result<Fate>;
    /// The second that its programs take it to be.
    fn now(&self) -> Result<u32>;
    /// Makes a flow that packets arrive in with this tuple end in this second, which may be over.
    fn age(&mut self, tuple: Tuple, expires: u32) -> Result<()>;
    /// The flow that packets arrive in with this tuple, live or not.
    fn record(&mut self, tuple: Tuple) -> Result<Option<Record>>;
    /// Makes a change to the Services; `world` is what holds afterwards.
    fn change(&mut self, change: Change, world: &World) -> Result<()>;
    /// The flows of IPv4, then those of IPv6.
    fn dump(&mut self) -> Result<[Dump; 2]>;
}
