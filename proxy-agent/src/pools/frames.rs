//! Frames by which neighbours learn whose an address is: ARP (RFC 826) and neighbour discovery (RFC 4861), over Ethernet.

pub mod arp;
pub mod nd;

/// A hardware address.
pub type Mac = [u8; 6];

/// Everybody on the link.
pub const BROADCAST: Mac = [0xff; 6];

/// Somebody asks whose an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<A> {
    /// The address.
    pub target: A,
    /// Hardware address of who asks.
    pub mac: Mac,
    /// Address of who asks; unspecified of one that does not have it yet.
    pub from: A,
}

pub(super) fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(96);
    frame.extend(to);
    frame.extend(from);
    frame.extend(kind.to_be_bytes());
    frame
}

/// Bytes of a fixed place.
fn at<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..place + N)?.try_into().ok()
}
