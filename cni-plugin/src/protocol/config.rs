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

/// Most seconds that ADD may be given.
pub const LONGEST: u64 = 60;

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
    /// Seconds that ADD may take, instead of 15; at most [`LONGEST`].
    pub timeout_seconds: Option<u64>,
    /// Addresses come from the node's ranges: a choice of another source is refused.
    pub ipam: Option<Value>,
    /// Result of the plugin in front of us (ADD), or of ADD (CHECK, DEL).
    pub prev_result: Option<Value>,
    /// What the runtime adds for declared capabilities.
    pub runtime_config: RuntimeConfig,
    #[serde(rename = "cni.dev/valid-attachments", deserialize_with = "list")]
    valid_attachments: Option<Vec<ValidAttachment>>,
    /// As it was called in drafts of the specification; runtimes write both.
    #[serde(rename = "cni.dev/attachments", deserialize_with = "list")]
    attachments: Option<Vec<ValidAttachment>>,
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

/// Null is an empty list, which is not the same as none.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<ValidAttachment>>, D::Error> {
    Option::deserialize(from).map(|list| Some(list.unwrap_or_default()))
}

/// Reads what is on stdin.
pub fn read(from: &mut impl Read) -> Result<Vec<u8>, Error> {
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
    Ok(text)
}

impl Config {
    /// Reads and decodes; not validated yet, so that an error can be written in the configuration's version.
    pub fn read(from: &mut impl Read) -> Result<Self, Error> {
        Self::decode(&read(from)?)
    }

    /// Decodes what was read.
    pub fn decode(text: &[u8]) -> Result<Self, Error> {
        let undecodable = |e: serde_json::Error| {
            Error::new(code::DECODE, "decode the network configuration on stdin")
                .because(e.to_string())
        };
        // Through an object, because an array would decode field by field.
        let object: Map<String, Value> = serde_json::from_slice(text).map_err(undecodable)?;
        serde_json::from_value(Value::Object(object)).map_err(undecodable)
    }

    /// What a DEL goes by that came with a configuration which cannot be decoded: its key is in the environment.
    /// The folder is read from what can be.
    pub fn of_undecodable(text: &[u8]) -> Self {
        let object: Map<String, Value> = serde_json::from_slice(text).unwrap_or_default();
        Self {
            run_dir: object
                .get("runDir")
                .and_then(Value::as_str)
                .map(str::to_owned),
            ..Self::default()
        }
    }

    /// The attachments that the runtime still knows. None: it does not say, and nothing may be dropped.
    pub fn valid_attachments(&self) -> Option<&[ValidAttachment]> {
        let given = self
            .valid_attachments
            .as_ref()
            .or(self.attachments.as_ref());
        given.map(Vec::as_slice)
    }

    /// Checks what ADD alone needs.
    fn validate_add(&self) -> Result<(), Error> {
        if let Some(ipam) = self.ipam.as_ref().filter(|i| i.get("type").is_some()) {
            let msg = format!("unsupported field \"ipam\": {ipam}");
            return Err(Error::new(code::UNSUPPORTED_FIELD, msg)
                .because("addresses come from the ranges of the node, as the agent knows them"));
        }
        if let Some(seconds) = self.timeout_seconds.filter(|s| !(1..=LONGEST).contains(s)) {
            let msg = format!("timeoutSeconds is {seconds}");
            let why = format!("it must be between 1 and {LONGEST}");
            return Err(Error::new(code::CONFIG, msg).because(why));
        }
        Ok(())
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
        if verb == Verb::Add {
            self.validate_add()?;
        }
        Ok(version)
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
        assert!(config("{}").unwrap().valid_attachments().is_none());
        for name in ["valid-attachments", "attachments"] {
            let given = |value: &str| config(&format!("{{\"cni.dev/{name}\":{value}}}")).unwrap();
            for none in ["null", "[]"] {
                assert!(given(none).valid_attachments().unwrap().is_empty());
            }
        }
        let both = r#"{"cni.dev/attachments":[],"cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"}]}"#;
        let both = config(both).unwrap();
        assert_eq!(both.valid_attachments().unwrap().len(), 1);
    }

    #[test]
    fn of_what_cannot_be_decoded_the_folder_is_read() {
        for text in ["", "{", "[]", "7"] {
            assert_eq!(Config::of_undecodable(text.as_bytes()).run_dir, None);
        }
        let text = br#"{"runDir":"/x","name":7,"runtimeConfig":[]}"#;
        assert!(Config::decode(text).is_err());
        assert_eq!(Config::of_undecodable(text).run_dir.as_deref(), Some("/x"));
    }

    #[test]
    fn what_only_add_needs_is_refused_to_add_alone() {
        let keys = [
            r#""timeoutSeconds":0"#,
            r#""timeoutSeconds":61"#,
            r#""timeoutSeconds":18446744073709551615"#,
            r#""ipam":{"type":"host-local"}"#,
        ];
        for key in keys {
            let config = config(&format!(r#"{{"cniVersion":"1.1.0","name":"n",{key}}}"#)).unwrap();
            assert!(config.validate(Verb::Add).is_err(), "{key}");
            for verb in [Verb::Del, Verb::Check, Verb::Gc, Verb::Status] {
                assert!(config.validate(verb).is_ok(), "{key}");
            }
        }
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
