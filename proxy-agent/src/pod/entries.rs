//! What the maps should hold for a set of endpoints.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use cni_plugin::{attachment::Attachment, paths::Paths, rpc::Add};
use proxy_common::{
    address::{Address4, Address6, address4, address6},
    endpoints::Endpoint,
    sockets::{CLIENT_BY_PACKET, Client},
};

/// The network namespaces of pods whose records can be read, with what `CLIENTS` says of them.
pub fn clients(run_dir: &Path) -> Vec<(u64, Client)> {
    let folder = Paths::new(run_dir).attachments();
    match Attachment::read_all(&folder) {
        Ok((records, _broken)) => {
            let adds = records.iter().map(|record| Entry {
                id: 0,
                add: &record.add,
                by_packet: false,
                flags: 0,
            });
            Entries::of(adds).clients.into_iter().collect()
        }
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "affinity of pods is not taken over");
            Vec::new()
        }
    }
}

/// What is written of one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: u32,
    /// What the plugin told.
    pub add: &'a Add,
    /// Its connections are translated packet by packet.
    pub by_packet: bool,
    /// `ENDPOINT_*` bits.
    pub flags: u32,
}

/// Contents of `ENDPOINTS`, and of the maps that lead there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// `ENDPOINTS`.
    pub endpoints: BTreeMap<u32, Endpoint>,
    /// `INTERFACES`.
    pub interfaces: BTreeMap<u32, u32>,
    /// `CLIENTS`.
    pub clients: BTreeMap<u64, Client>,
    /// `LOCAL_PODS4`.
    pub local4: BTreeMap<Address4, u32>,
    /// `LOCAL_PODS6`.
    pub local6: BTreeMap<Address6, u32>,
}

impl Entries {
    /// The entries of these endpoints.
    pub fn of<'a>(endpoints: impl IntoIterator<Item = Entry<'a>>) -> Self {
        let mut entries = Self::default();
        for entry in endpoints {
            entries.insert(entry);
        }
        entries
    }

    fn insert(&mut self, entry: Entry<'_>) {
        let Entry {
            id,
            add,
            by_packet,
            flags,
        } = entry;
        let endpoint = endpoint(add, flags);
        self.endpoints.insert(id, endpoint);
        self.interfaces.insert(add.host_ifindex, id);
        // Unknown of a pod that was wired by a plugin which did not tell, or whose record is lost.
        if add.netns_cookie != 0 {
            self.clients
                .insert(add.netns_cookie, client(&endpoint, by_packet));
        }
        for ip in &add.ips {
            match ip {
                IpAddr::V4(ip) => drop(self.local4.insert(address4(ip.octets()), id)),
                IpAddr::V6(ip) => drop(self.local6.insert(address6(ip.octets()), id)),
            }
        }
    }
}

/// The value of `ENDPOINTS`.
pub fn endpoint(add: &Add, flags: u32) -> Endpoint {
    let mut endpoint = Endpoint {
        ifindex: add.host_ifindex,
        address4: 0,
        address6: [0; 4],
        pod_mac: add.pod_mac,
        host_mac: add.host_mac,
        flags,
    };
    for ip in &add.ips {
        match ip {
            IpAddr::V4(ip) => endpoint.address4 = address4(ip.octets()),
            IpAddr::V6(ip) => endpoint.address6 = address6(ip.octets()),
        }
    }
    endpoint
}

const fn client(endpoint: &Endpoint, by_packet: bool) -> Client {
    Client {
        address4: endpoint.address4,
        address6: endpoint.address6,
        flags: if by_packet { CLIENT_BY_PACKET } else { 0 },
    }
}
