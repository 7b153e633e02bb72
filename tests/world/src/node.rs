//! A node: its namespaces, its uplink and its pod ranges.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result};

use super::{
    World, cgroup::Cgroup, holder::Holder, leak, leftover, place::Place, plain, plugin::Plugin,
    pod::Pod,
};

/// A node. Cheap to clone; a [`Place`], so that host processes and sockets are made on it directly.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    index: u8,
    place: Place,
    holder: Holder,
    cgroup: Cgroup,
    pods: AtomicU8,
    wired: AtomicUsize,
    world: World,
}

impl Node {
    pub(super) fn new(world: &World, name: &str, index: u8) -> Result<Self> {
        let cgroup = world.cgroup().child(name)?;
        let own = cgroup.child("host")?;
        let holder = Holder::start(name, &own)?;
        let place = holder.place(own)?;
        let node = Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                index,
                place,
                holder,
                cgroup,
                pods: AtomicU8::new(1),
                wired: AtomicUsize::new(0),
                world: world.clone(),
            }),
        };
        node.plug_in(world)?;
        Ok(node)
    }

    /// The uplink: a veth whose other end is a port of the fabric's bridge.
    fn plug_in(&self, world: &World) -> Result<()> {
        let port = format!("port{}", self.inner.index);
        let holder = world.fabric_holder();
        self.batch(&format!(
            "link add eth0 mtu 1500 type veth peer name {port} mtu 1500 netns {holder}\n\
             addr add {}/24 dev eth0\n\
             addr add {}/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add default via 172.30.0.1\n\
             route add ::/0 via fd30::1\n",
            self.ipv4(),
            self.ipv6()
        ))?;
        world
            .outside()
            .batch(&format!("link set {port} master br0 up\n"))
    }

    /// Name, also its host name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The world it is in.
    pub(super) fn world(&self) -> &World {
        &self.inner.world
    }

    /// Its number, from 1.
    pub(super) fn index(&self) -> u8 {
        self.inner.index
    }

    /// IPv4 address of the uplink.
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, 0, 10 + self.inner.index)
    }

    /// IPv6 address of the uplink.
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, u16::from(10 + self.inner.index))
    }

    /// Both addresses of the uplink.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.ipv4().into(), self.ipv6().into()]
    }

    /// Pod ranges, IPv4 then IPv6.
    pub fn pod_ranges(&self) -> [String; 2] {
        let index = self.inner.index;
        [
            format!("10.244.{index}.0/24"),
            format!("fd00:244:{index}::/64"),
        ]
    }

    /// Addresses for the next pod that the world wires itself.
    pub(super) fn next_addresses(&self) -> (Ipv4Addr, Ipv6Addr) {
        let pod = self.inner.pods.fetch_add(1, Ordering::Relaxed) + 1;
        let index = self.inner.index;
        (
            Ipv4Addr::new(10, 244, index, pod),
            Ipv6Addr::new(0xfd00, 0x244, u16::from(index), 0, 0, 0, 0, u16::from(pod)),
        )
    }

    /// Pods that the CNI plugin has wired and not yet taken down.
    pub(super) fn wired(&self) -> usize {
        self.inner.wired.load(Ordering::Relaxed)
    }

    /// Counts a pod that the CNI plugin wires.
    pub(super) fn wire(&self) {
        self.inner.wired.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a pod that the CNI plugin takes down.
    pub(super) fn unwire(&self) {
        self.inner.wired.fetch_sub(1, Ordering::Relaxed);
    }

    /// The node's whole cgroup: host processes and pods. What an agent is told as its cgroup root.
    pub fn cgroup_root(&self) -> &Cgroup {
        &self.inner.cgroup
    }

    /// The node's own network, for processes and sockets outside of its cgroup: no socket hook sees them.
    pub fn outsider(&self) -> Result<Place> {
        let cgroup = self.inner.world.cgroup();
        let cgroup = cgroup.child(&format!("{}-outside", self.inner.name))?;
        self.inner.holder.place(cgroup)
    }

    /// A file of the node, as seen from outside its mount namespace.
    pub fn file(&self, inside: &str) -> PathBuf {
        self.inner.holder.path(inside)
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.inner.holder
    }

    /// A pod wired by the world itself, with no program of ours: the baseline.
    pub fn plain_pod(&self, name: &str) -> Result<Pod> {
        plain::pod(self, name).with_context(|| format!("make plain pod {name}"))
    }

    /// A pod wired by the CNI plugin, as a container runtime would call it.
    pub fn pod(&self, plugin: &Plugin, name: &str) -> Result<Pod> {
        plugin
            .pod(self, name)
            .with_context(|| format!("make pod {name}"))
    }

    /// Routes to another node's pod ranges by its uplink, as an agent in direct mode keeps them.
    pub fn route_to(&self, peer: &Self) -> Result<()> {
        let [v4, v6] = peer.pod_ranges();
        self.batch(&format!(
            "route replace {v4} via {}\nroute replace {v6} via {}\n",
            peer.ipv4(),
            peer.ipv6()
        ))
    }
}

impl Deref for Node {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.inner.place
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let left = leftover::no_process(&self.cgroup, self.holder.id());
        // Removed in any case.
        let removed = self.cgroup.remove();
        leak::report(left.and(removed));
    }
}
