//! Frames, changed byte by byte.

use std::net::Ipv4Addr;

/// Tags of a frame, tag protocol and control information, the outermost first.
pub type Stack = Vec<(u16, u16)>;

/// Tag protocols: 802.1Q and 802.1ad.
const PROTOCOLS: [u16; 2] = [0x8100, 0x88a8];
/// Control information: VLAN 0 without and with a priority, a VLAN, the reserved one.
const CONTROLS: [u16; 4] = [0, 0xe000, 7, 0xfff];
/// Tags above each other.
const DEPTH: usize = 3;

/// All stacks of one to three tags.
pub fn stacks() -> impl Iterator<Item = Stack> {
    let tags: Vec<(u16, u16)> = PROTOCOLS
        .into_iter()
        .flat_map(|protocol| CONTROLS.map(|control| (protocol, control)))
        .collect();
    let mut all: Vec<Stack> = vec![Stack::new()];
    let mut from = 0;
    for _ in 0..DEPTH {
        let until = all.len();
        for at in from..until {
            all.extend(
                tags.iter()
                    .map(|tag| [&all[at][..], &[*tag]].concat())
                    .collect::<Vec<_>>(),
            );
        }
        from = until;
    }
    all.into_iter().skip(1)
}

/// Whether the frame is below two tags of VLAN 0, which the stack takes off without asking programs again.
pub fn is_hidden(stack: &Stack) -> bool {
    stack.len() >= 2 && stack[..2].iter().all(|(_, control)| vlan(*control) == 0)
}

/// Whether no tag names a VLAN: they only say how urgent the frame is, if anything.
pub fn is_of_priority(stack: &Stack) -> bool {
    stack.iter().all(|(_, control)| vlan(*control) == 0)
}

/// Number of the VLAN in a tag's control information.
const fn vlan(control: u16) -> u16 {
    control & 0xfff
}

/// The frame with tags between its addresses and its type.
pub fn tagged(frame: &[u8], stack: &Stack) -> Vec<u8> {
    let tags = stack
        .iter()
        .flat_map(|(protocol, control)| [protocol.to_be_bytes(), control.to_be_bytes()]);
    let tags: Vec<u8> = tags.flatten().collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

/// The frame with another type.
pub fn typed(frame: &[u8], kind: u16) -> Vec<u8> {
    [&frame[..12], &kind.to_be_bytes(), &frame[14..]].concat()
}

/// The frame to another hardware address.
pub fn to(frame: &[u8], mac: [u8; 6]) -> Vec<u8> {
    [&mac, &frame[6..]].concat()
}

/// ARP for the gateway of pods, a question (1) or an answer (2) by the owner of an address.
pub fn arp(from: [u8; 6], to: [u8; 6], operation: u16, owner: Ipv4Addr) -> Vec<u8> {
    let mut frame = [to, from].concat();
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4]);
    frame.extend_from_slice(&operation.to_be_bytes());
    frame.extend_from_slice(&from);
    frame.extend_from_slice(&owner.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&[169, 254, 1, 1]);
    frame
}
