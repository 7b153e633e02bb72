//! Feature probing: which kinds of devices the kernel can make, by trying, without making any.

use std::io;

use cni_plugin::wiring::netlink::{CREATE, Netlink};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
};

/// Whether the kernel knows a kind of device; its module is loaded for that. What is asked for cannot be made: it has more queues
/// than a device may have, which is looked at after the kind (`rtnl_create_link` in the kernel's `net/core/rtnetlink.c`).
pub fn is_known(kind: &InfoKind) -> io::Result<bool> {
    const TOO_MANY: u32 = 1 << 20;
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::NumTxQueues(TOO_MANY),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind.clone())]),
    ];
    let made = Netlink::open()?.request(&RouteNetlinkMessage::NewLink(link), CREATE);
    match made.map_err(|error| (error.raw_os_error(), error)) {
        Err((Some(libc::EOPNOTSUPP), _)) => Ok(false),
        Err((Some(libc::EINVAL), _)) => Ok(true),
        Err((_, error)) => Err(error),
        Ok(_) => Err(io::Error::other("the kernel made a device that cannot be")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_nobody_has_is_not_known() {
        let nobodys = InfoKind::Other("weir-none".to_owned());
        assert!(!is_known(&nobodys).unwrap());
        assert!(is_known(&InfoKind::Veth).unwrap());
    }
}
