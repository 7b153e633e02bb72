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
}

#[derive(Deserialize)]
struct Ip {
    address: IpNetwork,
}

/// All addresses that a previous result tells. Its MTU is not looked at: plugins that change one do not say so there.
pub fn read(result: &Value) -> Result<Vec<IpAddr>, Error> {
    let result = PrevResult::deserialize(result)
        .map_err(|e| Error::new(code::DECODE, "decode prevResult").because(e.to_string()))?;
    Ok(result.ips.iter().map(|ip| ip.address.ip()).collect())
}
