//! Neighbour discovery for IPv6 (RFC 4861): solicitations in, advertisements out.

use std::net::Ipv6Addr;

use super::{Mac, Question, at, ethernet};

/// Ethernet type of IPv6.
pub const ETHER_TYPE: u16 = 0x86dd;
const IP: usize = 14;
const ICMP: usize = IP + 40;
/// Of the frame.
const NEXT_HEADER: usize = IP + 6;
const ICMPV6: u8 = 58;
/// What has another was forwarded, and is not of this link.
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const TARGET_LINK_ADDRESS: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Where solicitations are, for a filter of a socket: places in the frame and what is there.
pub const PLACES: [(usize, u8); 2] = [(NEXT_HEADER, ICMPV6), (ICMP, SOLICITATION)];

/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The group to which an address is asked for.
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (a & 0xff), b)
}

/// The question in a frame, if it is one.
pub fn question(frame: &[u8]) -> Option<Question<Ipv6Addr>> {
    let found = PLACES.map(|(place, value)| frame.get(place) == Some(&value));
    let is_solicitation = found == [true; 2]
        && at(frame, 12)? == ETHER_TYPE.to_be_bytes()
        && frame.get(IP + 7) == Some(&HOP_LIMIT)
        && frame.get(ICMP + 1) == Some(&0);
    let length: usize = u16::from_be_bytes(at(frame, IP + 4)?).into();
    let message = frame.get(ICMP..ICMP + length)?;
    let from: Ipv6Addr = at::<16>(frame, IP + 8)?.into();
    let to: Ipv6Addr = at::<16>(frame, IP + 24)?.into();
    let question = Question {
        mac: at(frame, 6)?,
        from,
        target: at::<16>(message, 8)?.into(),
    };
    (is_solicitation && checksum(from, to, message) == 0).then_some(question)
}

/// The answer: the address is at `mac`.
pub fn answer(question: &Question<Ipv6Addr>, mac: Mac) -> Vec<u8> {
    if question.from.is_unspecified() {
        // Whoever wants the address for itself has none yet: all hear that it is taken.
        return announcement(question.target, mac);
    }
    let flags = SOLICITED | OVERRIDE;
    advertise(question.target, mac, (question.mac, question.from), flags)
}

/// What tells everybody that an address is at `mac` now.
pub fn announcement(address: Ipv6Addr, mac: Mac) -> Vec<u8> {
    advertise(
        address,
        mac,
        ([0x33, 0x33, 0, 0, 0, 1], ALL_NODES),
        OVERRIDE,
    )
}

fn advertise(address: Ipv6Addr, mac: Mac, to: (Mac, Ipv6Addr), flags: u8) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    message.extend([TARGET_LINK_ADDRESS, 1]);
    message.extend(mac);
    let sum = checksum(address, to.1, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet(to.0, mac, ETHER_TYPE);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(address.octets());
    frame.extend(to.1.octets());
    frame.extend(message);
    frame
}

/// RFC 8200, 8.1. 0 of a message that has the right one.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        let pairs = bytes.chunks(2);
        pairs
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
            .sum()
    };
    let mut sum = words(&from.octets()) + words(&to.octets()) + words(message);
    sum += message.len() as u32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Slice, SlicedPacket, TransportSlice};

    use super::*;

    const ME: Mac = [2, 0, 0, 0, 0, 1];
    const PEER: Mac = [2, 0, 0, 0, 0, 9];

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// Source, destination and ICMP message, the checksum of which another one has checked.
    fn parsed(frame: &[u8]) -> (Ipv6Addr, Ipv6Addr, Vec<u8>) {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(etherparse::NetSlice::Ipv6(net)) = &packet.net else {
            panic!("no IPv6")
        };
        let (from, to) = (net.header().source_addr(), net.header().destination_addr());
        let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else {
            panic!("no ICMPv6")
        };
        assert!(icmp.is_checksum_valid(from.octets(), to.octets()));
        let icmp: Icmpv6Slice<'_> = icmp;
        (from, to, icmp.slice().to_vec())
    }

    fn solicitation(from: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let to = solicited_node(target);
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend(target.octets());
        message.extend([1, 1]);
        message.extend(PEER);
        let sum = checksum(from, to, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = ethernet([0x33, 0x33, 0xff, 0, 0, 1], PEER, ETHER_TYPE);
        frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, HOP_LIMIT]);
        frame.extend(from.octets());
        frame.extend(to.octets());
        frame.extend(message);
        frame
    }

    #[test]
    fn a_solicitation_is_answered_to_who_asks() {
        let (vip, peer) = (ip("2001:db8::1:2:3"), ip("fe80::9"));
        let asked = solicitation(peer, vip);
        let question = question(&asked).unwrap();
        assert_eq!(
            question,
            Question {
                target: vip,
                mac: PEER,
                from: peer
            }
        );
        let answer = answer(&question, ME);
        let (from, to, message) = parsed(&answer);
        assert_eq!(
            (from, to, &answer[..12]),
            (vip, peer, &[PEER, ME].concat()[..])
        );
        assert_eq!(
            (message[0], message[4]),
            (ADVERTISEMENT, SOLICITED | OVERRIDE)
        );
        assert_eq!(message[8..24], vip.octets());
        assert_eq!(message[24..], [&[2, 1][..], &ME].concat());
        assert_eq!(super::question(&answer), None);
        for short in 0..asked.len() {
            assert_eq!(super::question(&asked[..short]), None);
        }
        for place in [IP + 7, ICMP, ICMP + 1, ICMP + 2, ICMP + 20] {
            let mut wrong = asked.clone();
            wrong[place] ^= 1;
            assert_eq!(super::question(&wrong), None, "{place}");
        }
    }

    #[test]
    fn one_that_wants_the_address_itself_is_told_with_all_others() {
        let vip = ip("2001:db8::1");
        let question = question(&solicitation(Ipv6Addr::UNSPECIFIED, vip)).unwrap();
        let answer = answer(&question, ME);
        assert_eq!(answer, announcement(vip, ME));
        let (_, to, message) = parsed(&answer);
        assert_eq!((to, message[4]), (ALL_NODES, OVERRIDE));
        assert_eq!(
            solicited_node(ip("2001:db8::aabb:ccdd")),
            ip("ff02::1:ffbb:ccdd")
        );
    }
}
