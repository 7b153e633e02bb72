//! kube-proxy's own file (`KubeProxyConfiguration`, `kubeproxy.config.k8s.io/v1alpha1`) in place of ours: what means
//! something here is honoured, and of all else that it says each part is named once. What it leaves at null, empty or its
//! zero says nothing, as kube-proxy reads it (`pkg/proxy/apis/config/v1alpha1/defaults.go`).

use std::{net::IpAddr, path::Path};

use serde_json::Value;
use serde_saphyr::Location;

use super::{
    Fault, Origin,
    definition::{DEFINITION, at},
    effective::Given,
    file, text,
};

/// `kind` of the file.
const KIND: &str = "KubeProxyConfiguration";
/// The only version that there is.
const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";

/// Theirs and ours.
const SAME: [(&str, &str); 15] = [
    ("clientConnection.kubeconfig", "clientConnection.kubeconfig"),
    ("clusterCIDR", "masquerade.clusterCIDRs"),
    ("conntrack.maxPerCore", "conntrack.maxPerCore"),
    ("conntrack.min", "conntrack.min"),
    ("conntrack.tcpBeLiberal", "conntrack.tcpBeLiberal"),
    (
        "conntrack.tcpCloseWaitTimeout",
        "conntrack.tcpCloseWaitTimeout",
    ),
    (
        "conntrack.tcpEstablishedTimeout",
        "conntrack.tcpEstablishedTimeout",
    ),
    ("conntrack.udpStreamTimeout", "conntrack.udpStreamTimeout"),
    ("conntrack.udpTimeout", "conntrack.udpTimeout"),
    (
        "featureGates.AllowServiceExternalIPs",
        "services.externalIPs",
    ),
    ("healthzBindAddress", "healthzBindAddress"),
    ("hostnameOverride", "nodeName"),
    ("logging.format", "logging.format"),
    ("metricsBindAddress", "metricsBindAddress"),
    ("nodePortAddresses", "node.nodePortAddresses"),
];

/// How often everything is compared, in the section of each mode.
const SYNC_PERIOD: &str = "syncPeriod";
const FULL_PERIOD: &str = "sync.fullPeriod";
/// Sections of modes, of which kube-proxy reads the one of its mode alone.
const MODES: [&str; 4] = ["iptables", "ipvs", "nftables", "winkernel"];

/// Why something means nothing here, by the beginning of its path.
const MEANINGLESS: [(&str, &str); 14] = [
    (
        "bindAddress",
        "the node's addresses are those of its Node object, or node.addresses",
    ),
    (
        "clientConnection",
        "requests are few, and neither counted nor encoded by choice",
    ),
    ("configSyncPeriod", "a watch that works needs no new list"),
    (
        "detectLocal",
        "which pods are local is known from the plugin that wired them",
    ),
    ("enableProfiling", "there is no profiler"),
    ("featureGates", "there is no such gate"),
    (
        "localhostNodePorts",
        "loopback serves NodePorts to processes of the node itself, over both families",
    ),
    ("logging", "levels are told by logging.level"),
    (
        "masqueradeAll",
        "a pod's address is kept on its way to a Service",
    ),
    ("masqueradeBit", "no packet is marked"),
    ("minSyncPeriod", "a change is written at once"),
    ("mode", "programs of our own serve, whatever the mode"),
    ("oomScoreAdj", "the Pod's own manifest says it"),
    ("scheduler", "a backend is chosen at random"),
];

/// What the file tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What is honoured.
    pub(super) given: Vec<Given>,
    /// What means nothing here.
    pub(super) warnings: Vec<String>,
}

/// Whether a file is kube-proxy's. What cannot be read at all is told when it is read as ours.
pub(super) fn is_one(text: &str) -> bool {
    serde_saphyr::from_str::<Value>(text).is_ok_and(|tree| tree["kind"] == KIND)
}

/// Reads it.
pub(super) fn read(path: &Path, text: &str) -> Result<Told, Vec<Fault>> {
    let (tree, values) = file::parse::<Value>(path, text).map_err(|fault| vec![fault])?;
    let mut leaves = Vec::new();
    tree.leaves("", &mut leaves);
    let mode = values["mode"].as_str().filter(|mode| !mode.is_empty());
    let mode = mode.unwrap_or("iptables");
    let (mut told, mut faults) = (Told::default(), Vec::new());
    for (name, place) in leaves {
        let value = at(&values, &name);
        let origin = origin(path, &place);
        match meaning(&name, value, mode) {
            Meaning::Nothing => {}
            Meaning::Ours(setting) => match given(setting, value, origin) {
                Ok(given) => told.given.push(given),
                Err(fault) => faults.push(fault),
            },
            Meaning::Warning(why) => {
                told.warnings
                    .push(format!("{origin}: {name} means nothing here: {why}"));
            }
            Meaning::Fault(cause) => faults.push(Fault::value(origin, &name, cause)),
        }
    }
    if faults.is_empty() {
        Ok(told)
    } else {
        Err(faults)
    }
}

/// What a value means here.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    /// This setting.
    Ours(&'static str),
    Warning(&'static str),
    Fault(String),
}

fn meaning(name: &str, value: &Value, mode: &str) -> Meaning {
    match name {
        "kind" => return Meaning::Nothing,
        "apiVersion" if value == API_VERSION => return Meaning::Nothing,
        "apiVersion" => return Meaning::Fault(format!("{value} is not {API_VERSION}")),
        _ => {}
    }
    if let Some((_, ours)) = SAME.iter().find(|(theirs, _)| *theirs == name) {
        return if is_unsaid(value) {
            Meaning::Nothing
        } else {
            Meaning::Ours(ours)
        };
    }
    let said = *value == Value::Bool(false) && is_true_unsaid(name);
    if !said && says_nothing(value) {
        return Meaning::Nothing;
    }
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    let of_mode = MODES.contains(&first);
    if of_mode && first != mode {
        return Meaning::Nothing;
    }
    if of_mode && rest == SYNC_PERIOD {
        return Meaning::Ours(FULL_PERIOD);
    }
    let word = if of_mode { rest } else { name };
    let why = MEANINGLESS.iter().find(|(part, _)| word.starts_with(part));
    Meaning::Warning(why.map_or("there is nothing like it", |(_, why)| why))
}

/// Left to the default. A zero or a false of ours says something.
fn is_unsaid(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// What is on unless somebody turns it off, or may be.
fn is_true_unsaid(name: &str) -> bool {
    name == "iptables.localhostNodePorts" || name.starts_with("featureGates.")
}

/// As kube-proxy itself writes what nobody told.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Bool(said) => !said,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0s" || text == "0",
        Value::Object(parts) => parts.values().all(says_nothing),
        other => is_unsaid(other),
    }
}

fn given(path: &str, value: &Value, origin: Origin) -> Result<Given, Fault> {
    let Some(setting) = DEFINITION.setting(path) else {
        return Err(Fault::unknown(origin, path));
    };
    let said = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // Theirs may leave the port out.
    let usual = setting.default.as_str().unwrap_or_default();
    let said = match (said.parse::<IpAddr>(), usual.rsplit_once(':')) {
        (Ok(IpAddr::V4(ip)), Some((_, port))) => format!("{ip}:{port}"),
        (Ok(IpAddr::V6(ip)), Some((_, port))) => format!("[{ip}]:{port}"),
        _ => said,
    };
    text::given(setting, &said, origin)
}

fn origin(path: &Path, place: &Location) -> Origin {
    Origin::File {
        path: path.to_owned(),
        line: place.line(),
        column: place.column(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kubeadm writes it.
    const KUBEADM: &str = "
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: '', burst: 0, contentType: '', kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: 10.244.0.0/16,fd00:10:244::/56
configSyncPeriod: 0s
conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: 24h0m0s}
detectLocal: {bridgeInterface: '', interfaceNamePrefix: ''}
detectLocalMode: ''
enableProfiling: false
healthzBindAddress: ''
hostnameOverride: ''
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: 'rr', strictARP: false, syncPeriod: 30s}
kind: KubeProxyConfiguration
logging: {flushFrequency: 0, options: {json: {infoBufferSize: '0'}, text: {infoBufferSize: '0'}}, verbosity: 0}
metricsBindAddress: ''
mode: ''
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ''
winkernel: {enableDSR: false, networkName: ''}
";

    fn told(text: &str) -> Told {
        assert!(is_one(text));
        read(Path::new("kp.yaml"), text).unwrap()
    }

    fn pairs(told: &Told) -> Vec<(String, String)> {
        let given = told.given.iter();
        given
            .map(|given| (given.path.clone(), given.value.to_string()))
            .collect()
    }

    #[test]
    fn of_the_file_of_kubeadm_what_applies_is_honoured() {
        let told = told(KUBEADM);
        let expected = [
            (
                "clientConnection.kubeconfig",
                "\"/var/lib/kube-proxy/kubeconfig.conf\"",
            ),
            (
                "masquerade.clusterCIDRs",
                "[\"10.244.0.0/16\",\"fd00:10:244::/56\"]",
            ),
            ("conntrack.tcpBeLiberal", "false"),
            ("conntrack.tcpEstablishedTimeout", "\"24h0m0s\""),
        ];
        let expected = expected.map(|(path, value)| (path.to_owned(), value.to_owned()));
        assert_eq!(pairs(&told), expected);
        let expected = "kp.yaml:3:1: bindAddress means nothing here: the node's addresses are those of its Node object, or \
                        node.addresses";
        assert_eq!(told.warnings, [expected]);
    }

    #[test]
    fn each_part_that_does_not_apply_is_named_once() {
        let told = told(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
             kind: KubeProxyConfiguration\n\
             mode: nftables\n\
             nftables: {masqueradeAll: true, syncPeriod: 45s, minSyncPeriod: 1s}\n\
             iptables: {masqueradeAll: true}\n\
             featureGates: {AllowServiceExternalIPs: false, NFTablesNetlink: true}\n\
             healthzBindAddress: '::'\n\
             nodePortAddresses: [primary]\n\
             newField: {deep: 1}\n",
        );
        let honoured = pairs(&told);
        for (path, value) in [
            ("sync.fullPeriod", "\"45s\""),
            ("services.externalIPs", "false"),
            ("healthzBindAddress", "\"[::]:10256\""),
            ("node.nodePortAddresses", "[\"primary\"]"),
        ] {
            let pair = (path.to_owned(), value.to_owned());
            assert!(honoured.contains(&pair), "{path}: {honoured:?}");
        }
        let words = |warning: &String| warning.split(' ').nth(1).unwrap().to_owned();
        let named: Vec<String> = told.warnings.iter().map(words).collect();
        let expected = [
            "mode",
            "nftables.masqueradeAll",
            "nftables.minSyncPeriod",
            "featureGates.NFTablesNetlink",
            "newField.deep",
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn what_is_on_by_itself_is_told_when_it_is_turned_off() {
        let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
        let iptables = "iptables: {localhostNodePorts: false, masqueradeAll: false}\n";
        let warnings = |rest: &str| told(&format!("{head}{rest}")).warnings;
        let warned = warnings(iptables);
        assert!(
            warned.len() == 1 && warned[0].contains("loopback serves NodePorts"),
            "{warned:?}"
        );
        let other_mode = warnings(&format!("mode: nftables\n{iptables}"));
        assert!(
            other_mode.len() == 1 && other_mode[0].contains("mode"),
            "{other_mode:?}"
        );
        let gates = warnings("featureGates: {TopologyAwareHints: false}\n");
        assert!(
            gates.len() == 1 && gates[0].contains("no such gate"),
            "{gates:?}"
        );
    }

    #[test]
    fn what_cannot_be_is_a_fault_with_its_place() {
        let text = "kind: KubeProxyConfiguration\n\
                    apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
                    clusterCIDR: 10.0.0.0/33\n";
        let faults = read(Path::new("kp.yaml"), text).unwrap_err();
        assert!(
            faults[0].to_string().starts_with("kp.yaml:3:1: "),
            "{}",
            faults[0]
        );
        let text = "kind: KubeProxyConfiguration\napiVersion: v2\n";
        assert_eq!(read(Path::new("kp.yaml"), text).unwrap_err().len(), 1);
    }
}
