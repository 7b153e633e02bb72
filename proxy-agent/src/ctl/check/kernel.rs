//! What the kernel can do, by trying.

use std::path::Path;

use cni_plugin::wiring::device::Device;
use netlink_packet_route::link::InfoKind;

use super::{Complaint, Fault, Verdict, scene::Scene};
use crate::{
    config::{Configuration, PodDevice, Routing, TcAttach},
    datapath::{
        DatapathError, preflight,
        trial::{self, Trial},
    },
    node::{device_kinds, pod_devices::PodDevices},
    observe::kubernetes::chain,
};

/// Where the kernel describes its own types.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// 0: programs are interpreted. In other network namespaces than the first it is not there.
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

/// Whether it has what programs need.
pub(super) fn features(_: &Scene) -> Verdict {
    if let Err(error) = preflight::privileges() {
        return Verdict::unknown(format!("it was not tried: {error}"));
    }
    match preflight::kernel() {
        Ok(release) => Verdict::fine(format!("{release} has all that is needed")),
        Err(error) => Complaint::error(Fault::KernelLacks, error.to_string(), error.hint()).into(),
    }
}

/// Whether it takes our programs.
pub(super) fn programs(scene: &Scene) -> Verdict {
    if let Err(error) = preflight::privileges() {
        let text = format!("programs were not tried: {error}");
        return Complaint::warning(Fault::MissingCapability, text, error.hint()).into();
    }
    let jit = std::fs::read_to_string(JIT).ok();
    judge(trial::run(), jit.as_deref(), scene.config.tc_attach)
}

fn judge(tried: Result<Trial, DatapathError>, jit: Option<&str>, attach: TcAttach) -> Verdict {
    let trial = match tried {
        Ok(trial) => trial,
        Err(error) => {
            let complaint = Complaint::error(Fault::ProgramsRefused, chain(&error), error.hint());
            return complaint.into();
        }
    };
    let off = jit.is_some_and(|value| value.trim() == "0") || !trial.interpreted.is_empty();
    let slow = off.then(|| {
        Complaint::warning(
            Fault::JitOff,
            "the kernel interprets programs (net.core.bpf_jit_enable is 0): packets take many times as long",
            "turn the compiler on",
        )
        .command(format!("echo 1 > {JIT}"))
    });
    let unattached = (attach == TcAttach::Tcx && !trial.tcx).then(|| {
        Complaint::error(
            Fault::NoTcx,
            "tcAttach is tcx, which this kernel does not have (Linux 6.6)",
            "let the agent choose",
        )
        .setting("tcAttach", "auto")
    });
    let by = if trial.tcx {
        "TCX"
    } else {
        "clsact, for want of TCX (Linux 6.6)"
    };
    let text = format!(
        "{} programs load; they are attached by {by}",
        trial.programs
    );
    Verdict::of(text, slow.into_iter().chain(unattached))
}

/// Whether the kernel describes its types.
pub(super) fn btf(_: &Scene) -> Verdict {
    judge_btf(std::fs::metadata(Path::new(BTF)).is_ok())
}

fn judge_btf(is_there: bool) -> Verdict {
    if is_there {
        return Verdict::fine(BTF);
    }
    Complaint::warning(
        Fault::NoBtf,
        format!("{BTF} is not there: what was tested is tested with it only"),
        "boot a kernel with CONFIG_DEBUG_INFO_BTF; in a container, mount the node's /sys",
    )
    .into()
}

/// Whether it makes the devices that Weir needs.
pub(super) fn devices(scene: &Scene) -> Verdict {
    let kinds = needed(&scene.config);
    let lacking =
        kinds
            .iter()
            .filter_map(|(kind, module, why)| match device_kinds::is_known(kind) {
                Ok(true) => None,
                Ok(false) => Some(missing(module, why, "the kernel has none")),
                Err(error) => Some(missing(module, why, &error.to_string())),
            });
    let lacking: Vec<Complaint> = lacking.collect();
    let names: Vec<&str> = kinds.iter().map(|(_, module, _)| *module).collect();
    let pods = PodDevices::find(scene.config.cni.device).first();
    let text = format!("{}; new pods get a {pods}", names.join(", "));
    Verdict::of(text, lacking)
}

fn missing(module: &str, why: &str, cause: &str) -> Complaint {
    let text = format!("devices of kind {module}, {why}: {cause}");
    // It is in the kernel's image or nowhere.
    if module == Device::Netkit.name() {
        let hint = "let the agent choose (Linux 6.7 has it with CONFIG_NETKIT)";
        return Complaint::error(Fault::NoDeviceKind, text, hint).setting("cni.device", "auto");
    }
    Complaint::error(
        Fault::NoDeviceKind,
        text,
        format!("load the module {module}, or install the package that has it (linux-modules-extra and the like)"),
    )
    .command(format!("modprobe {module}"))
}

/// Kinds of devices, the kernel modules that make them, and what they are for.
fn needed(config: &Configuration) -> Vec<(InfoKind, &'static str, &'static str)> {
    let mut kinds = vec![(InfoKind::Veth, "veth", "for pods")];
    if config.cni.device == PodDevice::Netkit {
        kinds.push((InfoKind::Netkit, "netkit", "for pods (cni.device)"));
    }
    if config.routing != Routing::Direct {
        kinds.push((InfoKind::Vxlan, "vxlan", "for the tunnel (routing)"));
    }
    if config.encryption.is_on() {
        kinds.push((
            InfoKind::Wireguard,
            "wireguard",
            "for encryption (encryption.mode)",
        ));
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(interpreted: &[&str], tcx: bool) -> Trial {
        Trial {
            programs: 3,
            interpreted: interpreted.iter().map(ToString::to_string).collect(),
            tcx,
        }
    }

    fn faults(verdict: Verdict) -> Vec<Fault> {
        let complaints = verdict.complaints.into_iter();
        complaints.map(|complaint| complaint.fault).collect()
    }

    #[test]
    fn what_is_interpreted_or_cannot_be_attached_is_told() {
        let auto = TcAttach::Auto;
        assert_eq!(faults(judge(Ok(trial(&[], true)), Some("1\n"), auto)), []);
        assert_eq!(faults(judge(Ok(trial(&[], false)), None, auto)), []);
        let off = [Fault::JitOff];
        assert_eq!(faults(judge(Ok(trial(&[], true)), Some("0\n"), auto)), off);
        assert_eq!(
            faults(judge(Ok(trial(&["from_pod"], true)), None, auto)),
            off
        );
        let tcx = judge(Ok(trial(&[], false)), None, TcAttach::Tcx);
        assert_eq!(faults(tcx), [Fault::NoTcx]);
        let refused = Err(DatapathError::Object("refused".to_owned()));
        assert_eq!(faults(judge(refused, None, auto)), [Fault::ProgramsRefused]);
        assert_eq!(faults(judge_btf(false)), [Fault::NoBtf]);
    }

    #[test]
    fn devices_are_those_of_the_configuration() {
        let mut config = Configuration::default();
        let names = |config: &Configuration| -> Vec<_> {
            needed(config)
                .into_iter()
                .map(|(_, name, _)| name)
                .collect()
        };
        assert_eq!(names(&config), ["veth", "vxlan"]);
        config.routing = Routing::Direct;
        config.encryption.mode = crate::config::Encryption::Wireguard;
        assert_eq!(names(&config), ["veth", "wireguard"]);
        config.cni.device = PodDevice::Netkit;
        assert_eq!(names(&config), ["veth", "netkit", "wireguard"]);
        let choose = missing("netkit", "for pods", "the kernel has none");
        assert!(choose.text.contains("netkit, for pods"), "{choose:?}");
        let hint = missing("wireguard", "for encryption", "the kernel has none");
        assert!(hint.text.contains("wireguard, for encryption"), "{hint:?}");
    }
}
