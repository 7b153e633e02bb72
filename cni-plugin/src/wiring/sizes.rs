//! How large a packet of many segments may be on its way through the node (BIG TCP, above 64 KiB).

use netlink_packet_route::link::LinkAttribute;
use serde::{Deserialize, Serialize};

/// The kernel's own choice (`GSO_LEGACY_MAX_SIZE`), from which Weir never departs by itself.
const USUAL: u32 = 65_536;

/// The limits of a link, bytes. 0: nobody says, and the kernel has its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sizes {
    /// What is sent: `gso_max_size`.
    pub gso: u32,
    /// What is received: `gro_max_size`.
    pub gro: u32,
    /// What is sent by IPv4: `gso_ipv4_max_size`.
    pub gso_ipv4: u32,
    /// What is received by IPv4: `gro_ipv4_max_size`.
    pub gro_ipv4: u32,
}

impl Sizes {
    /// As a link has them.
    pub fn of(attributes: &[LinkAttribute]) -> Self {
        let mut sizes = Self::default();
        for attribute in attributes {
            match attribute {
                LinkAttribute::GsoMaxSize(size) => sizes.gso = *size,
                LinkAttribute::GroMaxSize(size) => sizes.gro = *size,
                LinkAttribute::GsoIpv4MaxSize(size) => sizes.gso_ipv4 = *size,
                LinkAttribute::GroIpv4MaxSize(size) => sizes.gro_ipv4 = *size,
                _ => {}
            }
        }
        sizes
    }

    /// What both let through.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self {
            gso: self.gso.min(other.gso),
            gro: self.gro.min(other.gro),
            gso_ipv4: self.gso_ipv4.min(other.gso_ipv4),
            gro_ipv4: self.gro_ipv4.min(other.gro_ipv4),
        }
    }

    /// Only what somebody has raised.
    #[must_use]
    pub fn raised(self) -> Self {
        let raised = |size: u32| if size > USUAL { size } else { 0 };
        Self {
            gso: raised(self.gso),
            gro: raised(self.gro),
            gso_ipv4: raised(self.gso_ipv4),
            gro_ipv4: raised(self.gro_ipv4),
        }
    }

    /// What gives them to a new link.
    pub fn attributes(self) -> impl Iterator<Item = LinkAttribute> {
        let all = [
            (self.gso, LinkAttribute::GsoMaxSize(self.gso)),
            (self.gro, LinkAttribute::GroMaxSize(self.gro)),
            (self.gso_ipv4, LinkAttribute::GsoIpv4MaxSize(self.gso_ipv4)),
            (self.gro_ipv4, LinkAttribute::GroIpv4MaxSize(self.gro_ipv4)),
        ];
        let told = all.into_iter().filter(|(size, _)| *size != 0);
        told.map(|(_, attribute)| attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_links_carry_and_somebody_has_raised_is_given() {
        let of = |gso, gro, gso_ipv4, gro_ipv4| Sizes {
            gso,
            gro,
            gso_ipv4,
            gro_ipv4,
        };
        let link = of(185_000, 65_536, 100_000, 62_780);
        assert_eq!(link.raised(), of(185_000, 0, 100_000, 0));
        let tunnel = of(65_536, 65_536, 120_000, 0);
        assert_eq!(link.within(tunnel).raised(), of(0, 0, 100_000, 0));
        let given: Vec<LinkAttribute> = link.raised().attributes().collect();
        let expected = [
            LinkAttribute::GsoMaxSize(185_000),
            LinkAttribute::GsoIpv4MaxSize(100_000),
        ];
        assert_eq!(given, expected);
        assert_eq!(Sizes::of(&given), link.raised());
    }
}
