//! Connection tracking.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;

/// Connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Conntrack {
    /// Connections that netfilter's table holds, per processor. A table that holds more stays. Ours: `maps.conntrack`.
    pub max_per_core: u32,
    /// Connections that it holds at least, if `maxPerCore` is not 0.
    pub min: u32,
    /// How long an idle established TCP connection is kept.
    pub tcp_established_timeout: Period,
    /// How long a TCP connection is kept that one side has closed.
    pub tcp_close_wait_timeout: Period,
    /// Netfilter does not mark packets outside of the window as invalid.
    pub tcp_be_liberal: bool,
    /// How long datagrams are kept that nobody has answered, or only once.
    pub udp_timeout: Period,
    /// How long those are kept that go both ways.
    pub udp_stream_timeout: Period,
}

impl Default for Conntrack {
    fn default() -> Self {
        Self {
            max_per_core: 32 * 1024,
            min: 128 * 1024,
            tcp_established_timeout: Period::from_secs(24 * 3600),
            tcp_close_wait_timeout: Period::from_secs(3600),
            tcp_be_liberal: false,
            udp_timeout: Period::from_secs(0),
            udp_stream_timeout: Period::from_secs(0),
        }
    }
}
