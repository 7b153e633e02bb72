//! One packet after the other from senders that are nobody.

use crate::packets::{Tcp, tcp, udp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ranges for measurements (RFC 2544, RFC 5180): their last 17 and 32 bits are forged.
const SOURCES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0)),
];
/// What of the last 32 bits of the source is forged.
const FORGED: [u32; 2] = [0x1_ffff, u32::MAX];
/// The lowest forged port.
const PORT: u16 = 1024;

/// A packet whose source is another one each time.
#[derive(Clone, Debug)]
pub struct Forge {
    frame: Vec<u8>,
    /// Where the last 32 bits of the source address are.
    source: usize,
    /// What of them is forged.
    forged: u32,
    /// Where the source port is.
    port: usize,
    /// Where the checksum of the transport is.
    transport: usize,
    /// Where the checksum of the IPv4 header is.
    header: Option<usize>,
    random: u64,
}

impl Forge {
    /// Segments that open a connection.
    pub fn syn(mac: [u8; 6], to: SocketAddr) -> Self {
        Self::new(tcp(source(to), to, Tcp::Syn, b""), mac, 16)
    }

    /// Datagrams.
    pub fn datagram(mac: [u8; 6], to: SocketAddr) -> Self {
        Self::new(udp(source(to), to, b"?"), mac, 6)
    }

    fn new(mut frame: Vec<u8>, mac: [u8; 6], checksum: usize) -> Self {
        frame[..6].copy_from_slice(&mac);
        let is_ipv6 = frame[12..14] == [0x86, 0xdd];
        let (source, port, header) = if is_ipv6 {
            (34, 54, None)
        } else {
            (26, 34, Some(24))
        };
        Self {
            frame,
            source,
            forged: FORGED[usize::from(is_ipv6)],
            port,
            transport: port + checksum,
            header,
            random: 1,
        }
    }

    /// Where its sources begin; another one each.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.random = seed | 1;
        self
    }

    /// The next one.
    pub fn next_frame(&mut self) -> &[u8] {
        // xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let address = (self.random >> 32) as u32 & self.forged;
        let port = PORT.max(self.random as u16);
        let old = u32::from_be_bytes([0, 1, 2, 3].map(|byte| self.frame[self.source + byte]));
        let address = old & !self.forged | address;
        self.set(self.source, (address >> 16) as u16, true);
        self.set(self.source + 2, address as u16, true);
        self.set(self.port, port, false);
        &self.frame
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.frame[at], self.frame[at + 1]])
    }

    /// Changes a word, and with it the checksums.
    fn set(&mut self, at: usize, new: u16, in_header: bool) {
        let old = self.word(at);
        self.frame[at..at + 2].copy_from_slice(&new.to_be_bytes());
        let header = self.header.filter(|_| in_header);
        for checksum in header.into_iter().chain([self.transport]) {
            let sum = changed(self.word(checksum), old, new);
            self.frame[checksum..checksum + 2].copy_from_slice(&sum.to_be_bytes());
        }
    }
}

fn source(to: SocketAddr) -> SocketAddr {
    SocketAddr::new(SOURCES[usize::from(to.is_ipv6())], PORT)
}

/// A checksum after the change of a word (RFC 1624, equation 3); never the zero by which UDP says that there is none.
fn changed(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    if sum == 0 { u16::MAX } else { sum }
}

#[cfg(test)]
mod tests {
    use super::Forge;
    use crate::packets::see;

    #[test]
    fn every_forged_packet_is_whole_and_another_one() {
        for to in ["10.0.0.1:80", "[fd00::1]:80"] {
            let to = to.parse().unwrap();
            for forge in [Forge::syn([2; 6], to), Forge::datagram([2; 6], to)] {
                let mut forge = forge.seeded(7);
                let mut sources = std::collections::BTreeSet::new();
                for _ in 0..1000 {
                    let seen = see(forge.next_frame());
                    assert_eq!(seen.destination, to);
                    sources.insert(seen.source);
                }
                assert!(sources.len() > 990, "{}", sources.len());
            }
        }
    }
}
