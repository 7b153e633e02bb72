//! A range as a row of offsets: 0 is its first address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// Host bits that are used of wide ranges: a node has far fewer pods.
const BITS: u8 = 16;

/// Offsets that pods may have, as `first..end`.
pub fn offsets(range: IpNetwork) -> std::ops::Range<u32> {
    let width = if range.is_ipv4() { 32 } else { 128 };
    let bits = (width - range.prefix()).min(BITS);
    let end = 1_u32 << bits;
    // 0 names the network, 1 is the node's own (tunnel source). The last one of a wide IPv4 range looks like
    // its broadcast address.
    let last_is_broadcast = range.is_ipv4() && range.prefix() <= 24;
    2..if last_is_broadcast { end - 1 } else { end }
}

/// Whether a range has an address that a pod may have, beside the reserved ones.
pub fn serves(range: IpNetwork, reserved: &[IpAddr]) -> bool {
    offsets(range).any(|offset| !reserved.contains(&address(range, offset)))
}

/// The address at an offset.
pub fn address(range: IpNetwork, offset: u32) -> IpAddr {
    match range.network() {
        IpAddr::V4(a) => Ipv4Addr::from(u32::from(a) + offset).into(),
        IpAddr::V6(a) => Ipv6Addr::from(u128::from(a) + u128::from(offset)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_kept_back() {
        let r = |s: &str| offsets(s.parse().unwrap());
        assert_eq!(r("10.1.1.0/24"), 2..255);
        assert_eq!(r("10.1.0.0/16"), 2..65535);
        assert_eq!(r("10.0.0.0/8"), 2..65535);
        assert_eq!(r("10.1.1.0/28"), 2..16);
        assert_eq!(r("fd00::/64"), 2..65536);
        for none in ["10.1.1.1/32", "10.1.1.0/31", "fd00::/128", "fd00::/127"] {
            assert!(r(none).is_empty());
            assert!(!serves(none.parse().unwrap(), &[]));
        }
        let range = "10.1.1.0/30".parse().unwrap();
        let reserved = ["10.1.1.2", "10.1.1.3"].map(|ip| ip.parse().unwrap());
        assert!(serves(range, &reserved[..1]) && !serves(range, &reserved));
        assert_eq!(
            address("fd00::/64".parse().unwrap(), 258),
            "fd00::102".parse::<IpAddr>().unwrap()
        );
    }
}
