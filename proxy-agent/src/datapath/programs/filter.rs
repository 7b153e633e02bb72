//! Filters of a block, as route netlink speaks of them.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
        TcOption,
    },
};

/// `TCA_INGRESS_BLOCK`.
pub(super) const INGRESS_BLOCK: u16 = 13;
/// `TCA_EGRESS_BLOCK`.
pub(super) const EGRESS_BLOCK: u16 = 14;
/// The first filter of its block. Constant like the priority, so that any later agent finds it.
pub(super) const HANDLE: TcHandle = TcHandle { major: 0, minor: 1 };
const PRIORITY: u32 = 1;
/// `ETH_P_ALL`, network order.
const ALL: u32 = 0x0003_u16.to_be() as u32;

/// A block in an interface's place: `TCM_IFINDEX_MAGIC_BLOCK`, and the number where the parent would be.
pub(super) fn block(number: u32) -> TcMessage {
    let header = TcHeader {
        index: TcHeader::TCM_IFINDEX_MAGIC_BLOCK.cast_signed(),
        parent: number.into(),
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, Vec::new())
}

/// A program as the filter of a block. It decides itself (direct action).
pub(super) fn message(number: u32, name: &str, program: i32) -> RouteNetlinkMessage {
    let mut message = block(number);
    message.header.handle = HANDLE;
    message.header.info = PRIORITY << 16 | ALL;
    message.attributes = vec![
        TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program.cast_unsigned())),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    RouteNetlinkMessage::NewTrafficFilter(message)
}

/// The number of a block, as an attribute of the clsact that is bound to it.
pub(super) fn block_attribute(kind: u16, number: u32) -> TcAttribute {
    TcAttribute::Other(DefaultNla::new(kind, number.to_ne_bytes().to_vec()))
}
