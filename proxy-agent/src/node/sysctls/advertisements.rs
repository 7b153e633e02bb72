//! Router advertisements: what a link heard before the node forwards, it hears afterwards.

use std::{collections::BTreeSet, path::Path};

use cni_plugin::wiring::name::is_pods_ifname;
use netlink_packet_route::link::LinkLayerType;

use super::{Setter, get};
use crate::node::facts::{Facts, Interface};

/// Links whose advertisements the kernel accepted when we came, by index.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeSet<u32>);

/// Links that are made later begin with it.
const DEFAULT: &str = "default";

impl Heard {
    /// Lets the kernel go on accepting them. A link that forwards already, and so does not accept any, is left so.
    pub(super) fn keep(&mut self, facts: &Facts, to: &mut Setter<'_>) -> Vec<String> {
        let (root, mut errors) = (to.root, Vec::new());
        if accepts(root, DEFAULT) {
            errors.extend(go_on(to, DEFAULT));
        }
        for link in facts.interfaces.iter().filter(|link| listens(link)) {
            if accepts(root, &link.name) {
                self.0.insert(link.index);
            }
            if self.0.contains(&link.index) {
                errors.extend(go_on(to, &link.name));
            }
        }
        self.0.retain(|index| facts.interface(*index).is_some());
        errors
    }
}

/// Pods' interfaces, ours and the loopback have no routers.
fn listens(link: &Interface) -> bool {
    link.layer != LinkLayerType::Loopback
        && !is_pods_ifname(&link.name)
        && !link.name.starts_with("weir_")
}

/// `accept_ra` 1: as long as the link does not forward.
fn accepts(root: &Path, link: &str) -> bool {
    let is = |key: &str, value: &str| {
        get(root, &format!("ipv6/conf/{link}/{key}")).is_ok_and(|now| now == value)
    };
    is("accept_ra", "1") && is("forwarding", "0")
}

/// 2: whether it forwards or not. 0 is somebody's will.
fn go_on(to: &mut Setter<'_>, link: &str) -> Option<String> {
    let key = format!("ipv6/conf/{link}/accept_ra");
    match get(to.root, &key).as_deref() {
        Ok("1" | "2") => to.set(&key, "2").err(),
        _ => None,
    }
}
