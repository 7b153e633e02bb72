//! How what comes from outside reaches a backend on another node.

use std::{fmt, str::FromStr};

use proxy_common::frontends::{FLAG_DIRECT, FLAG_RELAYED};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Protocol;

/// How what comes from outside reaches a backend on another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForwardingMode {
    /// In the name of the node by which it came, which turns the answers. The backend does not see the client's address.
    #[default]
    Snat,
    /// As it is, by the tunnel to the backend's node, which answers the client itself (direct server return). The network must let
    /// a node answer in the name of another one's address.
    Dsr,
    /// As it is, by the tunnel to the backend's node; the answers return to the node by which it came. Any network does.
    Tunnel,
    /// TCP as with `dsr`, all else as with `snat`.
    Hybrid,
}

/// Each with its word, as files and the annotation of a Service say it.
const WORDS: [(ForwardingMode, &str); 4] = [
    (ForwardingMode::Snat, "snat"),
    (ForwardingMode::Dsr, "dsr"),
    (ForwardingMode::Tunnel, "tunnel"),
    (ForwardingMode::Hybrid, "hybrid"),
];

impl ForwardingMode {
    /// Whether packets are relayed to the backend's node, of some protocol.
    pub const fn relays(self) -> bool {
        !matches!(self, Self::Snat)
    }

    /// `FLAG_RELAYED` and `FLAG_DIRECT` of frontends of a protocol.
    pub const fn flags(self, protocol: Protocol) -> u32 {
        match (self, protocol) {
            (Self::Dsr, _) | (Self::Hybrid, Protocol::Tcp) => FLAG_RELAYED | FLAG_DIRECT,
            (Self::Tunnel, _) => FLAG_RELAYED,
            (Self::Snat | Self::Hybrid, _) => 0,
        }
    }
}

impl fmt::Display for ForwardingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(mode, _)| mode == self);
        f.write_str(word.map_or("", |(_, word)| word))
    }
}

impl FromStr for ForwardingMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = WORDS.iter().find(|(_, word)| *word == text);
        found
            .map(|(mode, _)| *mode)
            .ok_or_else(|| format!("`{text}` is not snat, dsr, tunnel or hybrid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_is_dsr_for_tcp_alone() {
        let flags = |word: &str, protocol| word.parse::<ForwardingMode>().unwrap().flags(protocol);
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            assert_eq!(flags("snat", protocol), 0);
            assert_eq!(flags("tunnel", protocol), FLAG_RELAYED);
            assert_eq!(flags("dsr", protocol), FLAG_RELAYED | FLAG_DIRECT);
            let like = if protocol == Protocol::Tcp {
                "dsr"
            } else {
                "snat"
            };
            assert_eq!(flags("hybrid", protocol), flags(like, protocol));
        }
        let wrong = "DSR".parse::<ForwardingMode>().unwrap_err();
        assert_eq!(wrong, "`DSR` is not snat, dsr, tunnel or hybrid");
    }

    #[test]
    fn words_are_those_of_files() {
        for (mode, word) in WORDS {
            assert_eq!(serde_json::to_value(mode).unwrap(), word);
            assert_eq!((mode.to_string().as_str(), word.parse()), (word, Ok(mode)));
        }
    }
}
