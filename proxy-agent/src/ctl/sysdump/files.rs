//! Files whose names differ from node to node, and which secrets are known.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cni_plugin::paths::Paths;

use super::{archive::Keep, host};
use crate::{
    ctl::check::scene::Scene,
    node::encryption::files::{NEXT, PRESENT},
    observe::kubernetes::KNOWN_SERVERS,
};

/// Where kubelets have the logs of containers.
const POD_LOGS: &str = "/var/log/pods";
/// Files of one kind, at the most.
const MANY: usize = 256;

/// A file of the archive.
type Found = (String, Keep, Result<Vec<u8>, String>);

/// Secrets of this node, by their own words.
pub(super) fn secrets(scene: &Scene) -> Vec<String> {
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let theirs = scene.view.path(Path::new(token));
    let files = [
        scene.here.run_dir.join(PRESENT),
        scene.here.run_dir.join(NEXT),
        PathBuf::from(token),
        theirs,
    ];
    let texts = files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    texts.map(|text| text.trim().to_owned()).collect()
}

/// Keys that every node may know.
pub(super) fn public(scene: &Scene) -> Vec<String> {
    let Ok(status) = &scene.agent else {
        return Vec::new();
    };
    let keys = &status.encryption;
    let own = keys.public_key.iter().chain(&keys.next_public_key).cloned();
    let peers = status.encryption.peers.iter().map(|peer| peer.key.clone());
    own.chain(peers).collect()
}

/// Files of the run folder, and logs.
pub(super) fn found(scene: &Scene, logs: &[PathBuf]) -> Vec<Found> {
    let paths = Paths::new(&scene.here.run_dir);
    let mut found = vec![
        (
            "run/node.json".to_owned(),
            Keep::Beginning,
            host::file(&paths.node()),
        ),
        (
            "run/ipam.json".to_owned(),
            Keep::Beginning,
            host::file(&paths.ipam()),
        ),
        (
            format!("run/{KNOWN_SERVERS}"),
            Keep::Beginning,
            host::file(&scene.here.run_dir.join(KNOWN_SERVERS)),
        ),
        (
            "logs/cni.log".to_owned(),
            Keep::End,
            host::end(&paths.log()),
        ),
    ];
    // Under the names that the agent has for them.
    let told = Paths::new(&scene.config.run_dir);
    for (folder, named) in [
        (paths.attachments(), told.attachments()),
        (paths.tombstones(), told.tombstones()),
        (
            scene.here.cni.conf_dir.clone(),
            scene.config.cni.conf_dir.clone(),
        ),
    ] {
        found.extend(files_of(&folder, &named));
    }
    let agents = agents_logs();
    if agents.is_empty() && logs.is_empty() {
        let why = format!("{POD_LOGS} has none: kubectl logs has them; --log names others");
        found.push(("logs/agent.log".to_owned(), Keep::End, Err(why)));
    }
    for path in agents.iter().chain(logs) {
        let name = format!("logs{}", path.display());
        found.push((name.replace("..", "_"), Keep::End, host::end(path)));
    }
    found
}

fn files_of(folder: &Path, named: &Path) -> Vec<Found> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.truncate(MANY);
    let files = paths.into_iter().filter(|path| path.is_file());
    let name = |path: &Path| {
        let named = named.join(path.file_name().unwrap_or_default());
        format!("files{}", named.display()).replace("..", "_")
    };
    files
        .map(|path| (name(&path), Keep::Beginning, host::file(&path)))
        .collect()
}

/// Of the containers of Weir's pods, as the kubelet names them: `NAMESPACE_POD_UID/CONTAINER/N.log`.
fn agents_logs() -> Vec<PathBuf> {
    let inside = |folder: PathBuf| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let pods = inside(POD_LOGS.into()).into_iter().filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.split('_')
            .nth(1)
            .is_some_and(|pod| pod.starts_with("weir-"))
    });
    let mut logs: Vec<PathBuf> = pods.flat_map(inside).flat_map(inside).collect();
    logs.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
    logs.sort();
    logs
}
