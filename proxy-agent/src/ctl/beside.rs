//! Where the agent beside us has its folder and its pins: as its own configuration says, which in its container is mounted at a
//! fixed place. Whoever is told otherwise, by flags or the environment, goes by that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, parser::ValueSource};
use serde_json::Value;

use super::args::Common;

/// Where the chart mounts the agent's configuration.
const MOUNTED: &str = "/etc/weir/config.yaml";

/// Takes over what nobody has told.
pub(super) fn take_over(common: &mut Common, matches: &ArgMatches) {
    let file = std::env::var_os("WEIR_CONFIG").map_or_else(|| MOUNTED.into(), PathBuf::from);
    let is_told = |name: &str| {
        let source = matches.value_source(name);
        source.is_some_and(|source| source != ValueSource::DefaultValue)
    };
    let told = ["run_dir", "bpffs", "instance"].map(is_told);
    // What is wrong with it, `check` and the agent say.
    if let Ok(text) = fs::read_to_string(file) {
        follow(common, told, &text);
    }
}

fn follow(common: &mut Common, [run_dir, bpffs, instance]: [bool; 3], text: &str) {
    let settings: Value = serde_saphyr::from_str(text).unwrap_or_default();
    let setting = |name: &str| settings[name].as_str().filter(|text| !text.is_empty());
    if let Some(folder) = setting("runDir").filter(|_| !run_dir) {
        follow_folder(&mut common.run_dir, Path::new(folder));
    }
    if let Some(path) = setting("bpffs").filter(|_| !bpffs) {
        common.bpffs = path.into();
    }
    if let Some(name) = setting("instance").filter(|_| !instance) {
        name.clone_into(&mut common.instance);
    }
}

/// Not if an agent answers at the usual place alone: a setting that was changed takes effect when the agent is started again.
fn follow_folder(known: &mut PathBuf, told: &Path) {
    if told.join(SOCKET).exists() || !known.join(SOCKET).exists() {
        told.clone_into(known);
    }
}

/// The agent's socket in its folder.
pub(super) const SOCKET: &str = "agent.sock";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::ctl::args::Arguments;

    fn common() -> Common {
        Arguments::parse_from(["proxyctl", "version"]).common
    }

    #[test]
    fn the_agents_own_settings_count_unless_others_are_told() {
        let text = "kind: AgentConfiguration\nrunDir: /run/other\nbpffs: /bpf\ninstance: two\ncni: {mtu: 1}\n";
        let mut told = common();
        follow(&mut told, [false; 3], text);
        assert_eq!(told.socket(), Path::new("/run/other/agent.sock"));
        assert_eq!(
            (told.bpffs.as_path(), told.instance.as_str()),
            (Path::new("/bpf"), "two")
        );
        for text in ["", "runDir: [", "runDir: 7", "- a", "runDir: ''"] {
            let mut same = common();
            follow(&mut same, [false; 3], text);
            assert_eq!(same.unusual(), common().unusual(), "{text}");
        }
        let mut same = common();
        follow(&mut same, [true; 3], text);
        assert_eq!(same.unusual(), common().unusual());
    }

    #[test]
    fn an_agent_that_was_not_started_again_is_where_it_was() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let follow = || {
            let mut known = here.path().to_owned();
            follow_folder(&mut known, there.path());
            known
        };
        assert_eq!(follow(), there.path());
        fs::write(here.path().join(SOCKET), "").unwrap();
        assert_eq!(follow(), here.path());
        fs::write(there.path().join(SOCKET), "").unwrap();
        assert_eq!(follow(), there.path());
    }

    #[test]
    fn it_is_where_the_manifests_mount_it() {
        let manifest = include_str!("../../../deploy/base/daemon-set.yaml");
        assert!(
            manifest.contains(&format!("--config={MOUNTED}")),
            "{manifest}"
        );
    }
}
