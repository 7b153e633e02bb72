//! From a pod to a host outside the cluster, in the node's name: Weir's programs, or nftables.

use std::net::SocketAddr;

use anyhow::Result;
use weir_world::{Process, World};

use super::side::Side;
use crate::bench::{
    bed::{self, Bare, Weir},
    load, objects,
};

/// The fabric's own addresses, which are no node's.
const OUTSIDE: [&str; 2] = ["172.30.0.1", "fd30::1"];
/// As ip-masq-agent and others have it.
const RULES: &str = "table inet node_name {\n\
     chain post {\n\
     type nat hook postrouting priority srcnat\n\
     ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade\n\
     ip6 saddr fd00:244::/32 ip6 daddr != fd00:244::/32 masquerade\n\
     }\n\
     }\n";

/// Both beds.
pub(super) fn sides() -> Result<[Side; 2]> {
    let world = World::new("nftables")?;
    let nodes = bed::nodes(&world)?;
    for node in &nodes {
        node.run_with_input(&["nft", "-f", "-"], RULES)?;
    }
    let (to, servers) = servers(&world)?;
    let reference = Side::reference(Bare::on(&nodes)?).with_servers(to, servers);
    let world = World::new("masquerade")?;
    let nodes = bed::nodes(&world)?;
    let (to, servers) = self::servers(&world)?;
    let weir = Side::weir(Weir::on(&nodes, &[])?).with_servers(to, servers);
    Ok([reference, weir])
}

fn servers(world: &World) -> Result<([SocketAddr; 2], Vec<Process>)> {
    let at = |ip: &str| -> Result<SocketAddr> { Ok(SocketAddr::new(ip.parse()?, objects::PORT)) };
    let to = [at(OUTSIDE[0])?, at(OUTSIDE[1])?];
    let servers = to.iter().map(|at| load::server(world.outside(), *at));
    Ok((to, servers.collect::<Result<_>>()?))
}
