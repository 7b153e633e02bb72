//! ARP for IPv4 (RFC 826, announcements: RFC 5227).

use std::net::Ipv4Addr;

use super::{BROADCAST, Mac, Question, at, ethernet};

/// Its Ethernet type.
pub const ETHER_TYPE: u16 = 0x0806;
/// Ethernet, IPv4, and the lengths of their addresses.
const KINDS: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// The question in a frame, if it is one.
pub fn question(frame: &[u8]) -> Option<Question<Ipv4Addr>> {
    let is_request = at(frame, 12)? == ETHER_TYPE.to_be_bytes()
        && at(frame, 14)? == KINDS
        && at(frame, 20)? == REQUEST;
    let question = Question {
        mac: at(frame, 22)?,
        from: at::<4>(frame, 28)?.into(),
        target: at::<4>(frame, 38)?.into(),
    };
    is_request.then_some(question)
}

/// The answer: the address is at `mac`.
pub fn answer(question: &Question<Ipv4Addr>, mac: Mac) -> Vec<u8> {
    frame(
        question.mac,
        REPLY,
        (mac, question.target),
        (question.mac, question.from),
    )
}

/// What tells everybody that an address is at `mac` now: as a request and as a reply, for some believe one and some the other.
pub fn announcements(address: Ipv4Addr, mac: Mac) -> [Vec<u8>; 2] {
    let from = (mac, address);
    [
        frame(BROADCAST, REQUEST, from, ([0; 6], address)),
        frame(BROADCAST, REPLY, from, (BROADCAST, address)),
    ]
}

fn frame(to: Mac, operation: [u8; 2], from: (Mac, Ipv4Addr), about: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = ethernet(to, from.0, ETHER_TYPE);
    frame.extend(KINDS);
    frame.extend(operation);
    for (mac, address) in [from, about] {
        frame.extend(mac);
        frame.extend(address.octets());
    }
    frame
}

#[cfg(test)]
mod tests {
    use etherparse::{ArpOperation, SlicedPacket};

    use super::*;

    const ME: Mac = [2, 0, 0, 0, 0, 1];
    const PEER: Mac = [2, 0, 0, 0, 0, 9];

    fn parsed(frame: &[u8]) -> (ArpOperation, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>) {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(etherparse::NetSlice::Arp(arp)) = packet.net else {
            panic!("no ARP")
        };
        let [a, b, c, d] = [
            arp.sender_hw_addr(),
            arp.sender_protocol_addr(),
            arp.target_hw_addr(),
            arp.target_protocol_addr(),
        ];
        (
            arp.operation(),
            a.to_vec(),
            b.to_vec(),
            c.to_vec(),
            d.to_vec(),
        )
    }

    #[test]
    fn a_question_is_answered() {
        let (vip, peer) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 9));
        let asked = frame(BROADCAST, REQUEST, (PEER, peer), ([0; 6], vip));
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
        assert_eq!(answer[..12], [PEER, ME].concat());
        let expected = (
            ArpOperation::REPLY,
            ME.to_vec(),
            vip.octets().to_vec(),
            PEER.to_vec(),
            peer.octets().to_vec(),
        );
        assert_eq!(parsed(&answer), expected);
        assert_eq!(super::question(&answer), None, "an answer is no question");
        for short in 0..asked.len() {
            assert_eq!(super::question(&asked[..short]), None);
        }
    }

    #[test]
    fn announcements_are_of_the_address_itself() {
        let vip = Ipv4Addr::new(192, 0, 2, 1);
        let told = announcements(vip, ME).map(|frame| parsed(&frame));
        for (_, mac, sender, _, target) in &told {
            assert_eq!(
                (mac, sender, target),
                (&ME.to_vec(), &vip.octets().to_vec(), &vip.octets().to_vec())
            );
        }
        assert_eq!(
            [told[0].0, told[1].0],
            [ArpOperation::REQUEST, ArpOperation::REPLY]
        );
    }
}
