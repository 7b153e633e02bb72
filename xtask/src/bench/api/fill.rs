//! Many objects at once: put where the API server keeps them, which takes seconds where a client takes minutes. The API server
//! fills in defaults as it reads them, and gives them to those who list and watch as any others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use weir_world::kubernetes::ControlPlane;

use super::Api;

/// What etcd takes in one transaction (its flag `--max-txn-ops`).
const AT_A_TIME: usize = 128;
const ETCD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ControlPlane::ETCD[0]);

impl Api {
    /// Puts whole objects, status included, of names that nobody has.
    pub(crate) fn fill(&self, objects: &[Value]) -> Result<()> {
        for (part, objects) in objects.chunks(AT_A_TIME).enumerate() {
            let numbers = part * AT_A_TIME..;
            let puts = numbers.zip(objects).map(|(n, object)| put(n, object));
            let transaction = json!({ "success": puts.collect::<Result<Vec<_>>>()? });
            let (status, body) =
                self.request_of(ETCD, "POST", "/v3/kv/txn", &transaction.to_string())?;
            ensure!(status == 200, "etcd takes no objects: {status} {body}");
        }
        Ok(())
    }
}

/// The operation that puts an object (<https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/>).
fn put(number: usize, object: &Value) -> Result<Value> {
    let mut stored = object.clone();
    let metadata = &mut stored["metadata"];
    let name = metadata["name"].as_str().context("object without name")?;
    let key = format!("/registry/{}/default/{name}", folder(object)?);
    metadata["namespace"] = json!("default");
    metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    metadata["uid"] = json!(uid(object, number));
    let value = STANDARD.encode(stored.to_string());
    Ok(json!({ "requestPut": { "key": STANDARD.encode(key), "value": value } }))
}

/// Different for all objects of a bench: no two lists of one kind are filled in.
fn uid(object: &Value, number: usize) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    let kind = kind.bytes().fold(0_u16, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u16::from(byte))
    });
    format!("00000000-0000-4000-8000-{kind:04x}{number:08x}")
}

/// Where the API server keeps objects of a kind.
fn folder(object: &Value) -> Result<&'static str> {
    Ok(
        match object["kind"].as_str().context("object without kind")? {
            "Service" => "services/specs",
            "EndpointSlice" => "endpointslices",
            "Pod" => "pods",
            "NetworkPolicy" => "networkpolicies",
            kind => bail!("no place for kind {kind}"),
        },
    )
}
