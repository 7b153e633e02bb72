//! Whom policy sees behind a Service where a client from outside reaches a backend on another node.

use std::net::IpAddr;

use proxy_common::{
    address::{octets4, octets6},
    frontends::{BackendSet, FLAG_DIRECT, FLAG_RELAYED, Frontend},
    node::NODE_RELAYS,
    tunnel::{TUNNEL_CLOSED, TUNNEL_ENCRYPTED},
};
use serde::{Deserialize, Serialize};

use crate::{
    ctl::{place, tunnels},
    datapath::{Maps, Table as _, TableError},
};

/// An address that policy judges in the place of, or as, the client's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// It.
    pub address: IpAddr,
    /// How packets go on: `snat`, `dsr` or `tunnel`.
    pub mode: String,
}

/// What a backend's node sees of a client; none where that follows from the flow itself: the client is inside, or the backend is on
/// this node. As the programs decide (`proxy_ebpf::act::begin`).
pub(super) fn of(
    maps: &Maps,
    (frontend, set): (&Frontend, &BackendSet),
    client: IpAddr,
    backend: IpAddr,
) -> Result<Option<Judged>, TableError> {
    if place::endpoint(maps, backend)?.is_some() || place::node_flags(maps, backend)? != 0 {
        return Ok(None);
    }
    let relays = frontend.flags & FLAG_RELAYED != 0
        && (frontend.maglev != 0 || set.count == 1)
        && takes_tunnel(maps, backend)?;
    if relays {
        let direct = frontend.flags & FLAG_DIRECT != 0;
        let mode = if direct { "dsr" } else { "tunnel" };
        return Ok(Some(Judged {
            address: client,
            mode: mode.to_owned(),
        }));
    }
    let config = maps.node_config.get(&0)?.unwrap_or_default();
    let own = if backend.is_ipv4() {
        octets4(config.address4).into()
    } else {
        octets6(config.address6).into()
    };
    Ok(Some(Judged {
        address: own,
        mode: "snat".to_owned(),
    }))
}

/// Whether the tunnel takes what is relayed to a backend.
fn takes_tunnel(maps: &Maps, backend: IpAddr) -> Result<bool, TableError> {
    let config = maps.node_config.get(&0)?.unwrap_or_default();
    if config.flags & NODE_RELAYS == 0 {
        return Ok(false);
    }
    let peer = tunnels::peer(maps, backend)?;
    Ok(peer.is_some_and(|flags| flags & (TUNNEL_ENCRYPTED | TUNNEL_CLOSED) == 0))
}
