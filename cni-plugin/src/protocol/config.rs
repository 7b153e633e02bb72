//! The network configuration on stdin. Unknown keys are ignored, `capabilities` (which libcni leaves in)
//! among them.

use std::io::Read;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{
    env::{Verb, is_identifier},
    error::{Error, code},
    version::Version,
};
use crate::rpc::{Bandwidth, Key, PortMapping};

/// More than this on stdin is not a network configuration.
const LIMIT: u64 = 4 << 20;

/// A network configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// `cniVersion`.
    pub cni_version: Option<String>,
    /// Name of the network.
    pub name: String,
    /// Folder shared with the agent, instead of the default (for tests).
    pub run_dir: Option<String>,
    /// Seconds that ADD may take, instead of 15.
    pub timeout_seconds: Option<u64>,
    /// Addresses come from the node's ranges: a choice of another source is refused.
    pub ipam: Option<Value>,
    /// Result of the plugin in front of us (ADD), or of ADD (CHECK, DEL).
    pub prev_result: Option<Value>,
    /// What the runtime adds for declared capabilities.
    pub runtime_config: RuntimeConfig,
    /// GC. Outer `None`: the key is absent and nothing may be dropped. Inner `None`: it is null, and no
    /// attachment is valid.
    #[serde(rename = "cni.dev/valid-attachments", deserialize_with = "present")]
    pub valid_attachments: Option<Option<Vec<ValidAttachment>>>,
}

/// Capabilities, in the spelling of CRI-O (camelCase) or containerd (`PascalCase` within).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeConfig {
    /// `hostPort`s.
    pub port_mappings: Option<Vec<PortMapping>>,
    /// Limits.
    pub bandwidth: Option<Bandwidth>,
}

/// An attachment that a runtime still knows.
#[derive(Clone, Debug, Deserialize)]
pub struct ValidAttachment {
    /// Container.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Interface.
    pub ifname: String,
}

impl From<ValidAttachment> for Key {
    fn from(a: ValidAttachment) -> Self {
        Self {
            container_id: a.container_id,
            ifname: a.ifname,
        }
    }
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Config {
    /// Reads and decodes; not validated yet, so that an error can be written in the configuration's version.
    pub fn read(from: &mut impl Read) -> Result<Self, Error> {
        let mut text = Vec::new();
        from.take(LIMIT + 1)
            .read_to_end(&mut text)
            .map_err(|e| Error::io("read the network configuration from stdin", &e))?;
        if text.len() as u64 > LIMIT {
            return Err(
                Error::new(code::DECODE, "network configuration is too long")
                    .because(format!("more than {LIMIT} bytes on stdin")),
            );
        }
        let undecodable = |e: serde_json::Error| {
            Error::new(code::DECODE, "decode the network configuration on stdin")
                .because(e.to_string())
        };
        // Through an object, because an array would decode field by field.
        let object: Map<String, Value> = serde_json::from_slice(&text).map_err(undecodable)?;
        serde_json::from_value(Value::Object(object)).map_err(undecodable)
    }

    /// Checks what every verb needs and gives the version to answer in.
    pub fn validate(&self, verb: Verb) -> Result<Version, Error> {
        let version = Version::parse(self.cni_version.as_deref())?;
        match verb {
            Verb::Check => version.allows("CHECK", Version::CHECK)?,
            Verb::Gc => version.allows("GC", Version::V1_1)?,
            Verb::Status => version.allows("STATUS", Version::V1_1)?,
            Verb::Add | Verb::Del | Verb::Version => {}
        }
        if self.name.is_empty() {
            return Err(Error::new(code::CONFIG, "missing network name"));
        }
        if !is_identifier(&self.name) {
            return Err(
                Error::new(code::CONFIG, "invalid characters found in network name")
                    .because(&self.name),
            );
        }
        match &self.ipam {
            Some(ipam) if verb == Verb::Add && ipam.get("type").is_some() => Err(Error::new(
                code::UNSUPPORTED_FIELD,
                format!("unsupported field \"ipam\": {ipam}"),
            )
            .because("addresses come from spec.podCIDRs of the Node")),
            _ => Ok(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, Error> {
        Config::read(&mut text.as_bytes())
    }

    #[test]
    fn absent_null_and_empty_attachments_differ() {
        assert!(config("{}").unwrap().valid_attachments.is_none());
        let null = config(r#"{"cni.dev/valid-attachments":null}"#).unwrap();
        assert!(null.valid_attachments.unwrap().is_none());
        let empty = config(r#"{"cni.dev/valid-attachments":[]}"#).unwrap();
        assert!(empty.valid_attachments.unwrap().unwrap().is_empty());
    }

    #[test]
    fn what_containerd_sends_is_understood() {
        let config = config(
            r#"{"name":"n","cniVersion":"1.0.0","capabilities":{"portMappings":true},"odd":[1],
            "runtimeConfig":{"bandwidth":{"IngressRate":10000000,"IngressBurst":4294967295,
            "EgressRate":20000000,"EgressBurst":34359738359},"dns":{"Servers":["10.96.0.10"]},
            "portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""}]}}"#,
        )
        .unwrap();
        let ports = config.runtime_config.port_mappings.unwrap();
        assert_eq!((ports[0].host_port, ports[0].container_port), (8080, 80));
        let bandwidth = config.runtime_config.bandwidth.unwrap();
        assert_eq!(bandwidth.egress_burst, 34_359_738_359);
    }

    #[test]
    fn each_fault_has_its_code() {
        let code_of = |text: &str, verb| match config(text) {
            Ok(c) => c.validate(verb).map_or_else(|e| e.code, |_| 0),
            Err(e) => e.code,
        };
        assert_eq!(code_of("", Verb::Add), code::DECODE);
        assert_eq!(code_of("[]", Verb::Add), code::DECODE);
        assert_eq!(
            code_of(r#"{"cniVersion":"9.9.9","name":"n"}"#, Verb::Add),
            code::INCOMPATIBLE_VERSION
        );
        assert_eq!(
            code_of(r#"{"name":"n"}"#, Verb::Add),
            code::INCOMPATIBLE_VERSION
        );
        assert_eq!(
            code_of(r#"{"cniVersion":"1.1.0"}"#, Verb::Add),
            code::CONFIG
        );
        assert_eq!(
            code_of(r#"{"cniVersion":"0.3.1","name":"n"}"#, Verb::Check),
            code::INCOMPATIBLE_VERSION
        );
        assert_eq!(
            code_of(r#"{"cniVersion":"1.0.0","name":"n"}"#, Verb::Gc),
            code::INCOMPATIBLE_VERSION
        );
        assert_eq!(
            code_of(
                r#"{"cniVersion":"1.0.0","name":"n","ipam":{"type":"host-local"}}"#,
                Verb::Add
            ),
            code::UNSUPPORTED_FIELD
        );
        assert_eq!(code_of(r#"{"cniVersion":"1.1.0","name":"n"}"#, Verb::Gc), 0);
    }
}
