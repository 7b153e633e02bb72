//! What CHECK reads from `prevResult`.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

use super::error::{Error, code};

#[derive(Deserialize)]
struct PrevResult {
    #[serde(default)]
    ips: Vec<Ip>,
    #[serde(default)]
    interfaces: Vec<Interface>,
}

/// Before version 1.1.0 it tells no MTU.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    sandbox: String,
    mtu: Option<u32>,
}

#[derive(Deserialize)]
struct Ip {
    address: IpNetwork,
}

/// What a previous result tells of a container's interface.
#[derive(Debug)]
pub struct Told {
    /// All addresses.
    pub ips: Vec<IpAddr>,
    /// MTU of the interface: plugins after us may have changed it, and say so here.
    pub mtu: Option<u32>,
}

/// Reads a previous result.
pub fn read(result: &Value, ifname: &str) -> Result<Told, Error> {
    let result = PrevResult::deserialize(result)
        .map_err(|e| Error::new(code::DECODE, "decode prevResult").because(e.to_string()))?;
    let of_container = |i: &&Interface| i.name == ifname && !i.sandbox.is_empty();
    Ok(Told {
        ips: result.ips.iter().map(|ip| ip.address.ip()).collect(),
        mtu: result
            .interfaces
            .iter()
            .find(of_container)
            .and_then(|i| i.mtu),
    })
}
