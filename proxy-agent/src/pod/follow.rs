//! What Pods say after they were wired: of their sockets, limits, and `hostPort`s.

use std::sync::Arc;

use cni_plugin::rpc::{Key, PortMapping};

use super::{Interfaces, Pods, host_port, local::Local, pods::name};
use crate::model::{ObjectName, Pod};

impl Pods {
    /// Takes the `hostPort`s that a Pod names, if the runtime told none of its container: CRI-O tells none. True: that is
    /// news.
    pub(super) fn take_ports(&mut self, key: &Key, ports: &[PortMapping]) -> bool {
        let of_container = |local: &&Local| local.add.key.container_id == key.container_id;
        let mut interfaces = self.known.values().filter(of_container);
        if ports.is_empty() || interfaces.any(|local| !local.add.ports.is_empty()) {
            return false;
        }
        let Some(local) = self.known.get_mut(key) else {
            return false;
        };
        local.add.ports = ports.to_vec();
        if let Err(error) = host_port::of(&local.add) {
            tracing::warn!(pod = %local.add.pod, error, "hostPorts of the Pod make no sense");
            local.add.ports.clear();
            return false;
        }
        true
    }

    /// Follows what pods say of their sockets and of limits, and their `hostPort`s, should they arrive late. `known` is that
    /// of [`Self::take`]. True: there are `hostPort`s that were not known.
    pub(super) fn follow_pods(
        &mut self,
        interfaces: &mut dyn Interfaces,
        known: impl Fn(&ObjectName, &str) -> Option<Arc<Pod>>,
    ) -> bool {
        let (mut changed, mut ports, mut limits) = (false, Vec::new(), Vec::new());
        for (key, local) in &mut self.known {
            let pod = known(&name(&local.add), &local.add.pod.uid);
            let said = pod.as_ref().or(local.fetched.as_ref());
            if let Some(said) = said
                && local.limiting.differs(said.limits())
            {
                limits.push((key.clone(), said.limits().cloned()));
            }
            // A pod that nobody knows stays as it was.
            let by_packet = said.map_or(local.by_packet, |pod| pod.by_packet);
            if let Some(pod) = pod.filter(|pod| !pod.host_ports().is_empty()) {
                ports.push((key.clone(), pod));
            }
            changed |= std::mem::replace(&mut local.by_packet, by_packet) != by_packet;
        }
        if changed {
            self.reconcile();
        }
        for (key, asked) in limits {
            self.ask_limits(&key, asked.as_ref(), interfaces);
        }
        let mut news = false;
        for (key, pod) in ports {
            news |= self.take_ports(&key, pod.host_ports());
        }
        news
    }
}
