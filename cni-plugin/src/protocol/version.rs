//! Versions of the specification.

use super::{
    error::{Error, code},
    supported::SUPPORTED,
};

/// A supported version. Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(usize);

impl Version {
    /// 0.4.0 brought CHECK.
    pub const CHECK: Self = Self(2);
    /// 1.0.0 dropped `ips[].version`.
    pub const V1: Self = Self(3);
    /// 1.1.0 brought GC, STATUS and `interfaces[].mtu`.
    pub const V1_1: Self = Self(4);
    /// The newest.
    pub const NEWEST: Self = Self::V1_1;

    /// From `cniVersion` of a configuration. None is what the specification reads as 0.1.0.
    pub fn parse(text: Option<&str>) -> Result<Self, Error> {
        let text = text.filter(|t| !t.is_empty()).unwrap_or("0.1.0");
        SUPPORTED
            .iter()
            .position(|v| *v == text)
            .map(Self)
            .ok_or_else(|| {
                Error::new(code::INCOMPATIBLE_VERSION, "incompatible CNI versions").because(format!(
                    "the configuration has cniVersion {text:?}, this plugin speaks {SUPPORTED:?}"
                ))
            })
    }

    /// As it stands in documents.
    pub fn as_str(self) -> &'static str {
        SUPPORTED[self.0]
    }

    /// Refuses a verb that came with a later version.
    pub fn allows(self, verb: &str, since: Self) -> Result<(), Error> {
        if self >= since {
            return Ok(());
        }
        Err(Error::new(
            code::INCOMPATIBLE_VERSION,
            format!("config version does not allow {verb}"),
        )
        .because(format!(
            "the configuration has cniVersion {}, {verb} came with {}",
            self.as_str(),
            since.as_str()
        )))
    }
}
