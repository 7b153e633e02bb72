//! The network configuration that makes the runtime call the plugin: the last thing that is written, for
//! from then on the kubelet starts pods.
//!
//! Its contents never change with the node, so it is hardly ever written again: every write makes
//! containerd load it anew, behind a lock that waits for ADDs.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use cni_plugin::paths::RUN_DIR;
use serde_json::{Value, json};

use super::install::{PLUGIN, replace};

/// Name of the configuration that is left for the deletion of pods.
pub const FAREWELL: &str = "zz-weir-uninstalled.conflist";

/// Name of the network. It must stay the same for ever: runtimes find the results of former ADDs by it.
const NETWORK: &str = "weir";

/// The file's contents. `cniVersions` is for runtimes that know 1.1.0; to others the older one is named.
pub fn contents(run_dir: &Path) -> String {
    let mut plugin = json!({
        "type": PLUGIN,
        "capabilities": { "bandwidth": true, "portMappings": true },
    });
    if run_dir != Path::new(RUN_DIR) {
        plugin["runDir"] = json!(run_dir);
    }
    let list = json!({
        "cniVersion": "1.0.0",
        "cniVersions": ["1.0.0", "1.1.0"],
        "name": NETWORK,
        "plugins": [plugin],
    });
    format!("{list:#}\n")
}

/// Writes the file if it differs. In the folder itself and by rename: containerd does not see a file that
/// is renamed from elsewhere; the removal of another file makes it look again for certain.
pub fn write(conf_dir: &Path, name: &str, run_dir: &Path) -> anyhow::Result<bool> {
    let path = conf_dir.join(name);
    let contents = contents(run_dir);
    if fs::read_to_string(&path).is_ok_and(|present| present == contents) {
        return Ok(false);
    }
    replace(&path, contents.as_bytes(), 0o644)
        .with_context(|| format!("write {}", path.display()))?;
    let nudge = conf_dir.join(".nudge");
    fs::write(&nudge, "").with_context(|| format!("write {}", nudge.display()))?;
    fs::remove_file(&nudge).with_context(|| format!("remove {}", nudge.display()))?;
    tracing::info!(path = %path.display(), "network configuration installed");
    remove(&conf_dir.join(FAREWELL))?;
    Ok(true)
}

/// Takes the configuration away when Weir goes. As long as it has `pods` it stays under a name that comes last:
/// without any, runtimes could not delete these pods, and whatever is installed next comes first.
pub fn retire(conf_dir: &Path, name: &str, run_dir: &Path, pods: bool) -> anyhow::Result<()> {
    let farewell = conf_dir.join(FAREWELL);
    if pods {
        replace(&farewell, contents(run_dir).as_bytes(), 0o644)
            .with_context(|| format!("write {}", farewell.display()))?;
    } else {
        remove(&farewell)?;
    }
    remove(&conf_dir.join(name))
}

/// Whether an agent has written it, under either name. Whoever chains plugins to Weir's has a list of his own.
pub fn is_there(conf_dir: &Path, name: &str) -> bool {
    let files = [name, FAREWELL].map(|file| conf_dir.join(file));
    files.iter().any(|path| {
        let list = fs::read(path).ok();
        let list = list.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        list.is_some_and(|list| {
            let plugins = list["plugins"].as_array().map_or(&[][..], Vec::as_slice);
            list["name"] == NETWORK && plugins.len() == 1 && plugins[0]["type"] == PLUGIN
        })
    })
}

/// Absent files are no error.
fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A configuration of another plugin that the runtime prefers to ours: it takes the first by name.
pub fn rival(conf_dir: &Path, name: &str) -> Option<String> {
    others(conf_dir, name)
        .filter(|file| file.as_str() < name)
        .min()
}

/// Whether another plugin has a configuration there.
pub fn is_another_there(conf_dir: &Path, name: &str) -> bool {
    others(conf_dir, name).next().is_some()
}

/// Configurations that runtimes read, but for ours.
fn others(conf_dir: &Path, name: &str) -> impl Iterator<Item = String> {
    let files = fs::read_dir(conf_dir).into_iter().flatten();
    files
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(move |file| file != name && file != FAREWELL && !file.starts_with('.'))
        .filter(|file| {
            [".conf", ".conflist", ".json"]
                .iter()
                .any(|ending| file.ends_with(ending))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_once_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, run) = (folder.path(), Path::new(RUN_DIR));
        assert!(write(dir, "05-weir.conflist", run).unwrap());
        assert!(!write(dir, "05-weir.conflist", run).unwrap());
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
        let list: Value = serde_json::from_str(&contents(run)).unwrap();
        assert_eq!(list["cniVersion"], "1.0.0");
        assert_eq!(list["plugins"][0]["type"], "weir");
        assert_eq!(list["plugins"][0].get("runDir"), None);
        let capabilities = list["plugins"][0]["capabilities"].as_object().unwrap();
        assert!(
            capabilities.keys().eq(["bandwidth", "portMappings"]),
            "only what exists"
        );
    }

    #[test]
    fn it_goes_when_no_pod_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, run) = (folder.path(), Path::new(RUN_DIR));
        let names = || {
            let files = fs::read_dir(dir).unwrap();
            let mut names: Vec<_> = files.map(|f| f.unwrap().file_name()).collect();
            names.sort();
            names
        };
        write(dir, "05-weir.conflist", run).unwrap();
        for _ in 0..2 {
            retire(dir, "05-weir.conflist", run, true).unwrap();
            assert_eq!(names(), [FAREWELL]);
        }
        assert_eq!(
            fs::read_to_string(dir.join(FAREWELL)).unwrap(),
            contents(run)
        );
        // Installed again.
        write(dir, "05-weir.conflist", run).unwrap();
        assert_eq!(names(), ["05-weir.conflist"]);
        retire(dir, "05-weir.conflist", run, true).unwrap();
        for _ in 0..2 {
            retire(dir, "05-weir.conflist", run, false).unwrap();
            assert!(names().is_empty());
        }
    }

    #[test]
    fn is_known_by_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, run) = (folder.path(), Path::new("/run/other"));
        let name = "05-weir.conflist";
        assert!(!is_there(dir, name));
        write(dir, name, run).unwrap();
        assert!(is_there(dir, name));
        retire(dir, name, run, true).unwrap();
        assert!(is_there(dir, name), "{FAREWELL}");
        retire(dir, name, run, false).unwrap();
        for other in [
            r#"{"name": "mine", "plugins": [{"type": "weir"}]}"#,
            r#"{"name": "weir", "plugins": [{"type": "weir"}, {"type": "tuning"}]}"#,
            "no JSON",
        ] {
            fs::write(dir.join(name), other).unwrap();
            assert!(!is_there(dir, name), "{other}");
        }
    }

    #[test]
    fn names_a_configuration_that_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["10-other.conflist", "00-readme.txt", ".00-hidden.conf"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(rival(folder.path(), "05-weir.conflist"), None);
        fs::write(folder.path().join("00-other.conf"), "").unwrap();
        assert_eq!(
            rival(folder.path(), "05-weir.conflist").unwrap(),
            "00-other.conf"
        );
    }
}
