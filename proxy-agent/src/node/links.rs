//! Which links carry node traffic, and so have our programs.
//!
//! All whose type carries IP, but for those of pods, our own, and members of a bridge or the like: that has the
//! programs. Links that are down have theirs already when they come up.

pub mod by_route;
pub mod pattern;
pub mod programs;
mod source;
#[cfg(test)]
mod tests;
pub mod xdp;

use std::collections::{BTreeMap, BTreeSet};

use cni_plugin::wiring::name::is_pods_ifname;
use netlink_packet_route::link::LinkLayerType;

use super::facts::{Facts, Interface};
use crate::config::LinkSettings;

pub use source::Sources;

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// An Ethernet header.
    Ethernet,
    /// The IP header.
    Bare,
}

/// A link that carries node traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// What its frames begin with.
    pub header: Header,
    /// Sources of what is translated on its way out by it.
    pub sources: Sources,
    /// Hardware address; zeros for a link without.
    pub mac: [u8; 6],
    /// What made it, as `ip link` says it; empty for hardware.
    pub kind: String,
}

/// What is made of all links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Those that carry node traffic, by index.
    pub chosen: BTreeMap<u32, Link>,
    /// Those that might, but are left alone, and why.
    pub refused: Vec<String>,
    /// Sources that depend on the route.
    pub by_route: by_route::ByRoute,
    /// Those that packets may leave by, but not through our programs: indexes.
    pub left_alone: BTreeSet<u32>,
}

/// What is made of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Carries(Header),
    /// No node traffic comes by it.
    Silent,
    /// It may, but not by our programs.
    Refused(String),
}

/// Kinds that carry nothing, or nothing that another link does not carry as well: what a mirror or a redirect leads
/// there, what an `ipvlan` shares with its parent (which has the programs).
const SILENT: [&str; 10] = [
    "dummy", "ifb", "nlmon", "vcan", "vxcan", "can", "ipvlan", "ipvtap", "macvtap", "vrf",
];
/// Kinds of tunnels with fallback devices whose frames have an Ethernet header.
const TAPS: [&str; 4] = ["gretap", "ip6gretap", "erspan", "ip6erspan"];
/// Devices of our own.
const OURS: &str = "weir_";

impl Link {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Links {
    /// Chooses, by configuration and facts.
    pub fn of(
        settings: &LinkSettings,
        facts: &Facts,
        sources: impl Fn(&Interface) -> Sources,
    ) -> Self {
        let mut links = Self::default();
        for interface in &facts.interfaces {
            let verdict = judge(settings, facts, interface);
            let carries = matches!(verdict, Verdict::Carries(_));
            // Packets leave by the master of a member, not by itself.
            if !carries && !is_own(interface) && interface.master.is_none() {
                links.left_alone.insert(interface.index);
            }
            match verdict {
                Verdict::Carries(header) => {
                    let link = Link {
                        name: interface.name.clone(),
                        index: interface.index,
                        header,
                        sources: sources(interface),
                        mac: interface.mac,
                        kind: interface.kind.clone(),
                    };
                    links.chosen.insert(link.index, link);
                }
                Verdict::Silent => {}
                Verdict::Refused(why) => {
                    links.refused.push(format!("{} {why}", interface.name));
                }
            }
        }
        links
    }
}

fn judge(settings: &LinkSettings, facts: &Facts, interface: &Interface) -> Verdict {
    if is_own(interface) || !is_wanted(settings, &interface.name) {
        return Verdict::Silent;
    }
    if let Some(master) = interface.master {
        return member(facts.interface(master), interface);
    }
    if SILENT.contains(&interface.kind.as_str()) {
        return Verdict::Silent;
    }
    match header(interface.layer) {
        Some(header) if is_idle(interface, header) => Verdict::Silent,
        Some(_) if interface.wraps => Verdict::Refused(
            "is left alone: its frames begin with the header of its tunnel, as of GRE to no one end"
                .to_owned(),
        ),
        Some(header) => Verdict::Carries(header),
        None if interface.addresses.is_empty() => Verdict::Silent,
        None => Verdict::Refused(format!(
            "is left alone: frames of its type ({}) are not understood",
            interface.layer
        )),
    }
}

/// Tunnels, which are down and have no address: their fallback devices are there in every namespace.
fn is_idle(interface: &Interface, header: Header) -> bool {
    let is_tunnel = header == Header::Bare || TAPS.contains(&interface.kind.as_str());
    is_tunnel && !interface.up && interface.addresses.is_empty()
}

/// Pods', ours, and the loopback.
fn is_own(interface: &Interface) -> bool {
    interface.layer == LinkLayerType::Loopback
        || is_pods_ifname(&interface.name)
        || interface.name.starts_with(OURS)
}

fn is_wanted(settings: &LinkSettings, name: &str) -> bool {
    let any = |patterns: &[String]| patterns.iter().any(|p| pattern::matches(p, name));
    (settings.include.is_empty() || any(&settings.include)) && !any(&settings.exclude)
}

/// What a member receives its master receives: there the programs are. Not so in a VRF, whose routes are not the main
/// table's.
fn member(master: Option<&Interface>, interface: &Interface) -> Verdict {
    match master {
        Some(vrf) if vrf.kind == "vrf" && !interface.addresses.is_empty() => {
            Verdict::Refused(format!(
                "is left alone: it belongs to {}, which routes by a table of its own",
                vrf.name
            ))
        }
        _ => Verdict::Silent,
    }
}

const fn header(layer: LinkLayerType) -> Option<Header> {
    match layer {
        LinkLayerType::Ether => Some(Header::Ethernet),
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre
        | LinkLayerType::Rawip => Some(Header::Bare),
        _ => None,
    }
}
