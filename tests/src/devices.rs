//! Which kinds of interfaces this kernel can give to pods.

use std::sync::LazyLock;

use cni_plugin::wiring::device::Device;

use crate::cni::Space;

static NETKIT: LazyLock<bool> = LazyLock::new(|| {
    // What cannot be tried fails the test that asks.
    let space = Space::new().unwrap_or_else(|error| panic!("{error:#}"));
    space.ip("link add tried type netkit").is_ok()
});

/// Whether this kernel has netkit, by trying as `ip` does.
pub fn has_netkit() -> bool {
    *NETKIT
}

/// What pods get that are given the best.
pub fn best() -> Device {
    if has_netkit() {
        Device::Netkit
    } else {
        Device::Veth
    }
}
