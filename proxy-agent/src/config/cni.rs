//! The CNI plugin.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PodDevice;

/// The CNI plugin.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cni {
    /// Install binary and conflist once the agent is ready, and wire pods.
    #[schemars(extend("x-flag" = "cni-install"))]
    pub install: bool,
    /// Where the runtime looks for plugins.
    #[schemars(extend("x-flag" = "cni-bin-dir", "format" = "path"))]
    pub bin_dir: PathBuf,
    /// Where the runtime looks for conflists.
    #[schemars(extend("x-flag" = "cni-conf-dir", "format" = "path"))]
    pub conf_dir: PathBuf,
    /// Name of the conflist's file.
    pub conf_file: String,
    /// The plugin binary to install; empty means `cni-plugin` beside the agent's own.
    #[schemars(extend("x-flag" = "cni-plugin", "format" = "path"))]
    pub plugin: PathBuf,
    /// MTU of pod interfaces; 0 means what the way to other nodes carries.
    pub mtu: u32,
    /// What the interfaces of new pods are.
    #[schemars(extend("x-flag" = "cni-device"))]
    pub device: PodDevice,
}

impl Default for Cni {
    fn default() -> Self {
        Self {
            install: false,
            bin_dir: PathBuf::from("/opt/cni/bin"),
            conf_dir: PathBuf::from("/etc/cni/net.d"),
            conf_file: "05-weir.conflist".to_owned(),
            plugin: PathBuf::new(),
            mtu: 0,
            device: PodDevice::default(),
        }
    }
}
