//! The node's own addresses: those of its Node object, and all others that the machine has. Policy lets them reach its
//! pods, and what is served there is more than the node's own sockets.

use std::net::IpAddr;

use proxy_common::{
    address::{octets4, octets6},
    node::ADDRESS_LOCAL,
};

use crate::datapath::{Maps, Table as _, TableError};

/// Those that `NODE_ADDRESSES*` hold, in order, without such as reach no pod.
pub fn read(maps: &Maps) -> Result<Vec<IpAddr>, TableError> {
    let v4 = maps.node_addresses4.entries()?.into_iter();
    let v6 = maps.node_addresses6.entries()?.into_iter();
    let v4 = v4.map(|(address, flags)| (IpAddr::from(octets4(address)), flags));
    let v6 = v6.map(|(address, flags)| (IpAddr::from(octets6(address)), flags));
    let mut own: Vec<IpAddr> = v4
        .chain(v6)
        .filter(|(address, flags)| flags & ADDRESS_LOCAL != 0 && reaches_pods(*address))
        .map(|(address, _)| address)
        .collect();
    own.sort_unstable();
    Ok(own)
}

/// Each pod's interface has a link-local address of its own: they would come and go with the pods.
const fn reaches_pods(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}
