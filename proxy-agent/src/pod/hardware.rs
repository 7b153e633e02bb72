//! Hardware addresses of pods' interfaces. A plugin that the runtime calls after ours (`tuning`) may change one, and
//! nobody is told: for a while after each ADD it is looked at every second, and then with every sweep.

use std::{io, net::IpAddr, time::Duration};

use cni_plugin::wiring::{addresses, inspect, netlink::Netlink};
use tokio::time::Instant;

use super::{Pods, event::Event, local::Local};

/// How long after an ADD the plugins after ours may be at work.
const YOUNG: Duration = Duration::from_secs(10);
/// How often all are looked at.
const PERIOD: Duration = Duration::from_mins(1);

/// An interface by its host side, and its hardware address.
pub(super) type Changed = (u32, [u8; 6]);

/// When addresses are looked at.
pub(super) struct Looking {
    pub(super) running: bool,
    next: Instant,
}

impl Looking {
    pub(super) fn new() -> Self {
        Self {
            running: false,
            next: Instant::now(),
        }
    }
}

/// What is known of an interface.
struct Known {
    ifindex: u32,
    mac: [u8; 6],
    ips: Vec<IpAddr>,
}

impl Known {
    fn of(local: &Local) -> Self {
        Self {
            ifindex: local.add.host_ifindex,
            mac: local.add.pod_mac,
            ips: local.add.ips.clone(),
        }
    }
}

impl Pods {
    /// Begins to look at those whose time it is.
    pub(super) fn look_at_hardware(&mut self) {
        if self.looking.running {
            return;
        }
        let all = Instant::now() >= self.looking.next;
        let is_young = |local: &&Local| local.added.is_some_and(|at| at.elapsed() < YOUNG);
        let locals = self.known.values().filter(|local| all || is_young(local));
        let known: Vec<Known> = locals.map(Known::of).collect();
        if all {
            self.looking.next = Instant::now() + PERIOD;
        }
        if known.is_empty() {
            return;
        }
        self.looking.running = true;
        self.beside(&self.config.works.hardware, move || {
            Event::Looked(changed(&known))
        });
    }

    /// Takes over what was found: whether anything has changed.
    pub(super) fn looked(&mut self, changed: io::Result<Vec<Changed>>) -> bool {
        self.looking.running = false;
        let changed = changed.unwrap_or_else(|error| {
            tracing::warn!(%error, "hardware addresses of pods not read");
            Vec::new()
        });
        for (ifindex, mac) in &changed {
            let locals = self.known.values_mut();
            for local in locals.filter(|local| local.add.host_ifindex == *ifindex) {
                tracing::info!(pod = %local.add.pod, ?mac, "pod's interface has another hardware address");
                local.add.pod_mac = *mac;
            }
        }
        if !changed.is_empty() {
            self.reconcile();
        }
        !changed.is_empty()
    }
}

/// Finds those that are not as known, and tells the node's neighbours.
fn changed(known: &[Known]) -> io::Result<Vec<Changed>> {
    let mut netlink = Netlink::open()?;
    let mut changed = Vec::new();
    for one in known {
        let mac = inspect::peer_mac(&mut netlink, one.ifindex)?;
        let Some(mac) = mac.filter(|mac| *mac != one.mac) else {
            continue;
        };
        let neighbours = one.ips.iter();
        let neighbours = neighbours.map(|ip| addresses::neighbour(one.ifindex, *ip, mac));
        match netlink.carry_out(neighbours.collect()) {
            // It went while it was looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => {
                done?;
                changed.push((one.ifindex, mac));
            }
        }
    }
    Ok(changed)
}
