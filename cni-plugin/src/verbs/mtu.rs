//! Which MTU a pod's interface can have.

use crate::{ledger, node_file::NodeFile};

/// The smallest at which IPv6 works (RFC 8200, section 5).
const LEAST_FOR_IPV6: u32 = 1280;
/// The smallest at which IPv4 does (RFC 791).
const LEAST: u32 = 68;
/// The largest that the kernel gives a pair.
const MOST: u32 = 65_535;

/// Refuses an MTU with which the families of the node's ranges do not work.
pub(super) fn check(node: &NodeFile) -> Result<(), String> {
    let ipv6 = ledger::ranges(node).any(|range| range.is_ipv6());
    let (least, what) = if ipv6 {
        (LEAST_FOR_IPV6, "IPv6 needs")
    } else {
        (LEAST, "IPv4 needs")
    };
    if node.mtu < least {
        return Err(format!(
            "MTU {} of Node {} is too small: {what} {least} (set cni.mtu of the agent, or the MTU of the node's link)",
            node.mtu, node.node
        ));
    }
    Ok(())
}

/// What pods' interfaces get: a link of the node may carry more than a pair can.
pub(super) fn of_pods(node: &NodeFile) -> u32 {
    node.mtu.min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_that_no_interface_can_have_is_refused_or_cut() {
        let node = |mtu, ranges: &[&str]| NodeFile {
            mtu,
            pod_cidrs: ranges.iter().map(|r| r.parse().unwrap()).collect(),
            ..NodeFile::default()
        };
        let (four, both) = (["10.0.0.0/24"], ["10.0.0.0/24", "fd00::/64"]);
        assert!(check(&node(68, &four)).is_ok() && check(&node(1280, &both)).is_ok());
        assert!(check(&node(67, &four)).is_err() && check(&node(0, &four)).is_err());
        let error = check(&node(1279, &both)).unwrap_err();
        assert!(error.contains("IPv6 needs 1280"), "{error}");
        // `lo` has 65536.
        assert_eq!(of_pods(&node(65_536, &four)), 65_535);
        assert_eq!(of_pods(&node(1500, &four)), 1500);
    }
}
