//! A world: a fabric with nodes and pods, made of namespaces, gone when it is dropped.
//!
//! ```text
//!   fabric netns: br0 172.30.0.1/24 fd30::1/64 ("outside the cluster")
//!     |- node a: netns + mount + uts namespace, eth0 172.30.0.11, pod range 10.244.1.0/24, fd00:244:1::/64
//!     |    |- pod x: netns /run/netns/x inside the node's mount namespace
//!     |- node b: eth0 172.30.0.12, ...
//! ```
//!
//! Namespaces are held by processes, never by files on the machine: a run that is killed leaves only a
//! cgroup, which the next run removes. Sockets are made by a helper process inside the netns *and* the
//! cgroup of their place, then used from the test: both stick to the socket, so cgroup programs see it
//! as they would see a container's. `load` makes and counts traffic.

pub mod bulk;
pub mod cluster;
pub mod kubernetes;
pub mod load;
pub mod manifests;

mod agent;
mod cgroup;
mod fork;
mod holder;
mod http;
mod internet;
mod leak;
mod leftover;
mod links;
mod node;
mod offload;
mod place;
mod plain;
mod plugin;
mod pod;
mod process;
mod programs;
mod routed;
mod router;
mod server;
mod sockets;
mod talk;
mod tun;
mod until;

pub use agent::{Agent, Programs, SERVICE_CIDRS};
pub use cgroup::Cgroup;
pub use cluster::Cluster;
pub use http::{http_get, http_get_over};
pub use internet::Internet;
pub use leak::LeakCheck;
pub use links::Network;
pub use manifests::Manifests;
pub use node::Node;
pub use offload::{set_gro, set_tx_checksum};
pub use place::Place;
pub use plugin::Plugin;
pub use pod::{Pod, Wiring};
pub use process::Process;
pub use programs::{program, use_programs_in};
pub use router::advertise_router;
pub use server::{Answer, Server, ask_tcp, ask_udp, ask_udp_connected};
pub use talk::Talk;
pub use tun::Tun;
pub use until::{slowness, until};

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};

use holder::Holder;

/// How many worlds this process has made; part of their names.
static WORLDS: AtomicU32 = AtomicU32::new(0);

/// A fabric and whatever hangs on it. Cheap to clone; the last handle (nodes and pods hold one) ends it.
#[derive(Clone)]
pub struct World {
    inner: Arc<Inner>,
}

struct Inner {
    // Dropped in this order: the fabric's holder ends before its cgroup is removed.
    fabric: Place,
    holder: Holder,
    cgroup: Cgroup,
    nodes: AtomicU8,
}

impl World {
    /// Makes the fabric. `name` shows up in cgroup and host names.
    pub fn new(name: &str) -> Result<Self> {
        cgroup::sweep()?;
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let cgroup = Cgroup::root()?.child(&format!(
            "{}{}-{name}-{number}",
            cgroup::PREFIX,
            std::process::id()
        ))?;
        let holder = Holder::start("fabric", &cgroup.child("fabric")?)
            .with_context(|| format!("make the fabric of world {name}"))?;
        let fabric = holder.place(cgroup.child("fabric")?)?;
        fabric.batch(
            "link set lo up\n\
             link add br0 type bridge\n\
             link set br0 up\n\
             addr add 172.30.0.1/24 dev br0\n\
             addr add fd30::1/64 dev br0 nodad\n",
        )?;
        Ok(Self {
            inner: Arc::new(Inner {
                fabric,
                holder,
                cgroup,
                nodes: AtomicU8::new(0),
            }),
        })
    }

    /// Adds a node. The first gets 172.30.0.11 and 10.244.1.0/24, the next .12 and 10.244.2.0/24.
    pub fn node(&self, name: &str) -> Result<Node> {
        let index = self.inner.nodes.fetch_add(1, Ordering::Relaxed) + 1;
        Node::new(self, name, index).with_context(|| format!("make node {name}"))
    }

    /// The fabric: a host outside the cluster, on the nodes' network.
    pub fn outside(&self) -> &Place {
        &self.inner.fabric
    }

    /// Process that holds the fabric's netns.
    fn fabric_holder(&self) -> u32 {
        self.inner.holder.id()
    }

    /// Cgroup that all processes of this world live under.
    pub fn cgroup(&self) -> &Cgroup {
        &self.inner.cgroup
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Self {
            fabric: _,
            holder,
            cgroup,
            nodes: _,
        } = self;
        let left = leftover::no_process(cgroup, holder.id());
        // Removed in any case.
        let removed = cgroup.remove();
        leak::report(left.and(removed));
    }
}
