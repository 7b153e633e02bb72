//! The manifests in `deploy/`: the agent takes every overlay's configuration, and overlays are made of what is there.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use proxy_agent::config::{definition::DEFINITION, load};
use serde_json::Value;

fn overlays() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/overlays");
    let mut overlays: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    overlays.sort();
    overlays
}

fn read(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_agent_takes_every_overlays_configuration() {
    let names: Vec<_> = overlays()
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["cluster", "kind", "lab"]);
    for overlay in overlays() {
        let path = overlay.join("config.yaml");
        let configuration = load::load_file(&path)
            .unwrap_or_else(|error| panic!("{error}"))
            .configuration;
        assert!(configuration.cni.install, "{}", path.display());
        assert_eq!(
            configuration.client_connection.api_servers.len(),
            1,
            "{}",
            path.display()
        );
    }
}

#[test]
fn overlays_give_the_base_what_it_lacks() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base");
    for file in read(&base.join("kustomization.yaml"))["resources"]
        .as_array()
        .unwrap()
    {
        assert!(base.join(file.as_str().unwrap()).is_file(), "{file}");
    }
    let daemon_set = read(&base.join("daemon-set.yaml"));
    let pod = &daemon_set["spec"]["template"]["spec"];
    let image = &pod["containers"][0]["image"];
    let wanted = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|volume| volume["configMap"]["name"].as_str())
        .unwrap();
    for overlay in overlays() {
        let kustomization = read(&overlay.join("kustomization.yaml"));
        assert_eq!(kustomization["resources"][0], "../../base");
        assert_eq!(&kustomization["images"][0]["name"], image);
        let made = &kustomization["configMapGenerator"][0];
        assert_eq!(
            (made["name"].as_str(), &made["files"][0]),
            (Some(wanted), &"config.yaml".into())
        );
    }
}

#[test]
fn variables_of_the_daemon_set_are_settings() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base");
    let daemon_set = read(&base.join("daemon-set.yaml"));
    let pod = &daemon_set["spec"]["template"]["spec"];
    // A Service called weir would make variables that look like ours.
    assert_eq!(pod["enableServiceLinks"], false);
    let variables = pod["containers"][0]["env"].as_array().unwrap();
    assert!(!variables.is_empty());
    for variable in variables {
        let name = variable["name"].as_str().unwrap();
        let mut settings = DEFINITION.settings.iter();
        assert!(settings.any(|setting| setting.variable == name), "{name}");
    }
}
