//! Which kind of interfaces new pods get: what is configured, as far as the kernel can make it.

use std::io;

use cni_plugin::wiring::device::Device;
use netlink_packet_route::link::InfoKind;

use super::device_kinds;
use crate::config::PodDevice;

/// It.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDevices {
    /// Kinds of pairs, of which the plugin makes the first that the kernel can make.
    pub kinds: Vec<Device>,
    /// Why there can be none.
    pub problem: Option<String>,
}

impl PodDevices {
    /// Tries what the kernel can make.
    pub fn find(setting: PodDevice) -> Self {
        Self::of(setting, device_kinds::is_known)
    }

    fn of(setting: PodDevice, is_known: impl Fn(&InfoKind) -> io::Result<bool>) -> Self {
        if setting == PodDevice::Veth {
            return Self::all(&[Device::Veth]);
        }
        let known = is_known(&Device::Netkit.kind());
        match (setting, known) {
            // The plugin itself goes on to the next where that turns out to be wrong.
            (PodDevice::Auto, Ok(true)) => Self::all(&[Device::Netkit, Device::Veth]),
            (PodDevice::Auto, Ok(false)) => Self::all(&[Device::Veth]),
            (PodDevice::Auto, Err(error)) => {
                tracing::warn!(%error, "netkit was not tried: new pods get a veth");
                Self::all(&[Device::Veth])
            }
            (_, known) => Self {
                problem: match known {
                    Ok(true) => None,
                    Ok(false) => Some(format!(
                        "new pods are refused: cni.device is netkit; {}",
                        Device::Netkit.lacking()
                    )),
                    Err(error) => Some(format!(
                        "cni.device is netkit, which was not tried: {error}"
                    )),
                },
                ..Self::all(&[Device::Netkit])
            },
        }
    }

    fn all(kinds: &[Device]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            problem: None,
        }
    }

    /// What new pods get.
    pub fn first(&self) -> Device {
        self.kinds.first().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_decides_unless_it_is_told() {
        use Device::{Netkit, Veth};
        let kinds = |setting, known: Option<bool>| {
            let found = PodDevices::of(setting, |_| known.ok_or_else(|| io::Error::other("no")));
            (found.kinds, found.problem.is_some())
        };
        for known in [Some(true), Some(false), None] {
            assert_eq!(kinds(PodDevice::Veth, known), (vec![Veth], false));
            let is_able = known == Some(true);
            assert_eq!(kinds(PodDevice::Netkit, known), (vec![Netkit], !is_able));
            let auto = if is_able {
                vec![Netkit, Veth]
            } else {
                vec![Veth]
            };
            assert_eq!(kinds(PodDevice::Auto, known), (auto, false));
        }
    }
}
