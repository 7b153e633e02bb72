//! Reads, overrides and checks the configuration: defaults, file, environment, flags, and what the machine tells.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::{
    ConfigError, Configuration, Effective, Fault, Flags, Origin,
    check::check,
    definition::{DEFINITION, put},
    effective::Given,
    file, kube_proxy, machine,
    suggest::distance,
    text,
};

/// A misspelt variable differs in so many letters; more, and it is somebody else's: Kubernetes makes
/// `WEIR_SERVICE_HOST` and the like of a Service called weir.
const SLIP: usize = 2;

/// The effective configuration of this process.
pub fn load(flags: &Flags) -> Result<Effective, ConfigError> {
    load_with(flags, std::env::vars())
}

/// The effective configuration with these variables.
pub fn load_with(
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Effective, ConfigError> {
    let from_file = flags
        .config
        .as_deref()
        .map_or_else(|| Ok(InFile::default()), read)?;
    sound(gather(from_file, flags, environment)?)
}

/// For what must be done whatever is told: what is wrong counts as not told, and is given beside the rest.
pub fn load_what_can_be(flags: &Flags) -> (Effective, Option<ConfigError>) {
    let (from_file, unread) = match flags.config.as_deref().map(read) {
        Some(Err(error)) => (InFile::default(), Some(error)),
        Some(Ok(file)) => (file, None),
        None => (InFile::default(), None),
    };
    match gather(from_file, flags, std::env::vars()) {
        Ok((effective, faults)) => {
            let wrong = (!faults.is_empty()).then_some(ConfigError::Faults(faults));
            (effective, unread.or(wrong))
        }
        Err(error) => (Effective::default(), Some(error)),
    }
}

fn gather(
    mut from_file: InFile,
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Effective, Vec<Fault>), ConfigError> {
    let mut told = std::mem::take(&mut from_file.translated);
    for result in variables(environment).chain(from_flags(flags)) {
        match result {
            Ok(given) => told.push(given),
            Err(fault) => from_file.faults.push(fault),
        }
    }
    lay(from_file, told)
}

/// What a file alone would make of the defaults.
pub fn load_file(path: &Path) -> Result<Effective, ConfigError> {
    let mut from_file = read(path)?;
    let told = std::mem::take(&mut from_file.translated);
    sound(lay(from_file, told)?)
}

/// What a file tells.
#[derive(Default)]
struct InFile {
    configuration: Configuration,
    given: Vec<Given>,
    /// What kube-proxy's file tells, as ours.
    translated: Vec<Given>,
    warnings: Vec<String>,
    /// What is wrong with it, and with what else is told.
    faults: Vec<Fault>,
}

fn read(path: &Path) -> Result<InFile, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::read(path, source))?;
    if kube_proxy::is_one(&text) {
        return Ok(match kube_proxy::read(path, &text) {
            Ok(told) => InFile {
                translated: told.given,
                warnings: told.warnings,
                ..InFile::default()
            },
            Err(faults) => InFile {
                faults,
                ..InFile::default()
            },
        });
    }
    let told = file::read(path, &text);
    Ok(InFile {
        configuration: told.configuration,
        given: told.given,
        faults: told.faults,
        ..InFile::default()
    })
}

/// Variables that name settings. One that nearly does is a fault.
fn variables(
    environment: impl IntoIterator<Item = (String, String)>,
) -> impl Iterator<Item = Result<Given, Fault>> {
    environment.into_iter().filter_map(|(name, text)| {
        let origin = Origin::Variable(name.clone());
        let settings = &DEFINITION.settings;
        if let Some(setting) = settings.iter().find(|s| s.variable == name) {
            return Some(text::given(setting, &text, origin));
        }
        let is_ours = name.starts_with("WEIR_") && name != "WEIR_CONFIG";
        let meant = settings
            .iter()
            .filter(|_| is_ours)
            .find(|setting| distance(&setting.variable, &name) <= SLIP)?;
        Some(Err(Fault {
            hint: format!("did you mean `{}`?", meant.variable),
            ..Fault::unknown(origin, &meant.path)
        }))
    })
}

/// Lists that are told more than once are joined; of all else the last counts.
fn from_flags(flags: &Flags) -> impl Iterator<Item = Result<Given, Fault>> {
    let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let told = flags.told.iter();
    let results: Vec<_> = told
        .map(|told| {
            let origin = Origin::Flag(told.flag.clone());
            let Some(setting) = DEFINITION.setting(&told.path) else {
                return Err(Fault::unknown(origin, &told.path));
            };
            let mut given = text::given(setting, &told.text, origin)?;
            if let Value::Array(items) = &mut given.value {
                let all = lists.entry(&setting.path).or_default();
                all.append(items);
                items.clone_from(all);
            }
            Ok(given)
        })
        .collect();
    results.into_iter()
}

/// Lays one over the other, and gives what is wrong with it. What is given was tried alone before, so that together it can be
/// read too.
fn lay(from_file: InFile, told: Vec<Given>) -> Result<(Effective, Vec<Fault>), ConfigError> {
    let unread = |error: serde_json::Error| {
        let cause = format!("read the settings together: {error}");
        ConfigError::one(Fault::value(Origin::Default, ".", cause))
    };
    let mut tree = serde_json::to_value(from_file.configuration).map_err(unread)?;
    let mut origins = BTreeMap::new();
    for given in from_file.given.into_iter().chain(told) {
        put(&mut tree, &given.path, given.value);
        origins.insert(given.path, given.origin);
    }
    let mut configuration = serde_json::from_value(tree).map_err(unread)?;
    for path in machine::complete(&mut configuration) {
        origins.insert(path.to_owned(), Origin::Machine);
    }
    let origin = |path: &str| origins.get(path).cloned().unwrap_or_default();
    let mut faults = from_file.faults;
    // What hangs on a value that cannot be is told when that is right.
    let hangs = |path: &str, cause: &str| {
        let mut paths = faults.iter().map(|fault| setting_of(&fault.path));
        paths.any(|wrong| wrong == path || cause.contains(wrong))
    };
    let rules: Vec<_> = check(&configuration)
        .into_iter()
        .filter(|(path, cause)| !hangs(path, cause))
        .map(|(path, cause)| Fault::value(origin(path), path, cause))
        .collect();
    faults.extend(rules);
    let effective = Effective {
        configuration,
        origins,
        warnings: from_file.warnings,
    };
    Ok((effective, faults))
}

fn sound((effective, faults): (Effective, Vec<Fault>)) -> Result<Effective, ConfigError> {
    if faults.is_empty() {
        Ok(effective)
    } else {
        Err(ConfigError::Faults(faults))
    }
}

/// Without the index of an item.
fn setting_of(path: &str) -> &str {
    path.split('[').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(flags: &Flags, variables: &[(&str, &str)]) -> Result<Effective, String> {
        let owned = variables
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        load_with(flags, owned).map_err(|error| error.report())
    }

    fn refused(flags: &Flags, variables: &[(&str, &str)]) -> String {
        with(flags, variables).unwrap_err()
    }

    #[test]
    fn flags_win_over_variables_and_those_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.yaml");
        let text = "cni: {mtu: 1400}\nmaps: {cidrs: 1, peers: 1}\nnode: {links: {include: [a]}}\n";
        fs::write(&path, text).unwrap();
        let flags = Flags::of_file(&path)
            .set("cni.mtu", "1420")
            .set("node.links.include", "b")
            .set("node.links.include", "c,d");
        let variables = [("WEIR_CNI_MTU", "1410"), ("WEIR_MAPS_CIDRS", "2")];
        let effective = with(&flags, &variables).unwrap();
        let config = &effective.configuration;
        assert_eq!(
            (config.cni.mtu, config.maps.cidrs, config.maps.peers),
            (1420, 2, 1)
        );
        assert_eq!(config.node.links.include, ["b", "c", "d"]);
        let from = |path: &str| effective.origin(path).to_string();
        assert_eq!(from("cni.mtu"), "--set cni.mtu");
        assert_eq!(from("maps.cidrs"), "WEIR_MAPS_CIDRS");
        assert!(from("maps.peers").ends_with("agent.yaml:2:18"));
        assert_eq!(from("cgroupRoot"), "this machine");
        assert_eq!(from("bpffs"), "default");
    }

    #[test]
    fn every_fault_is_told_with_what_to_do() {
        let flags = Flags::default()
            .set("node.link", "eth0")
            .set("maps.size", "tiny");
        assert_eq!(
            refused(
                &flags,
                &[("WEIR_CNI_MTUU", "1"), ("WEIR_SERVICE_HOST", "x")]
            ),
            "error: WEIR_CNI_MTUU: cni.mtu: unknown setting\n\
             hint: did you mean `WEIR_CNI_MTU`?\n\
             error: --set node.link: node.link: unknown setting\n\
             hint: did you mean `node.links`?\n\
             error: --set maps.size: maps.size: unknown variant `tiny`, expected `large` or `small`\n\
             hint: maps.size takes large or small, and is \"large\" unless told\n"
        );
    }

    /// Rules are told beside values that cannot be, but for those that hang on one.
    #[test]
    fn faults_of_every_kind_are_told_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.yaml");
        let text = "kind: Other\ncni:\n  mtu: 200\nclusterPodCIDRs: [nowhere]\nipam: cluster\nsync:\n  fullPeriod: 0s\n";
        fs::write(&path, text).unwrap();
        let flags = Flags::of_file(&path).set("maps.size", "tiny");
        let told = refused(&flags, &[]);
        let of = |line: &str| line.strip_prefix("error: ").map(ToOwned::to_owned);
        let told: Vec<String> = told.lines().filter_map(of).collect();
        let begins = [
            "agent.yaml:4:19: clusterPodCIDRs[0]: ",
            "--set maps.size: maps.size: ",
            "agent.yaml:1:1: kind: `Other` is not AgentConfiguration",
            "agent.yaml:7:3: sync.fullPeriod: must be longer than 0s",
            "agent.yaml:3:3: cni.mtu: `200` is less than 576",
        ];
        assert_eq!(told.len(), begins.len(), "{told:#?}");
        for (line, begin) in told.iter().zip(begins) {
            assert!(line.contains(begin), "{line} has not {begin}");
        }
    }

    #[test]
    fn values_that_cannot_be_name_where_they_were_told() {
        let flags = Flags::default().set("node.serviceCIDRs", "::/0");
        assert!(
            refused(&flags, &[]).starts_with(
                "error: --set node.serviceCIDRs: node.serviceCIDRs: `::/0` would lead all that the host sends to weir_host\n"
            )
        );
        for (text, wrong) in [("0s", false), ("1s", false), ("999ms", true)] {
            let result = with(
                &Flags::default(),
                &[("WEIR_CONNTRACK_UDP_STREAM_TIMEOUT", text)],
            );
            let expected = "error: WEIR_CONNTRACK_UDP_STREAM_TIMEOUT: conntrack.udpStreamTimeout: `999ms` is shorter than a second\n";
            assert_eq!(result.is_err(), wrong, "{text}");
            assert!(result.err().is_none_or(|told| told.starts_with(expected)));
        }
    }
}
