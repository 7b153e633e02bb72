//! The manifests in `deploy/`: the agent takes every overlay's configuration, and overlays are made of what is there.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use proxy_agent::config::{Platform, definition::DEFINITION, load};
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
        assert!(
            !configuration.client_connection.api_servers.is_empty(),
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

/// Each says where its runtime looks for plugins, and the table of platforms names it.
#[test]
fn platforms_have_their_own_folders() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = fs::read_to_string(root.join("docs/platforms.md")).unwrap();
    for platform in [Platform::K3s, Platform::Gke, Platform::Openshift] {
        let folder = format!("deploy/platforms/{}", platform.word());
        assert!(table.contains(&folder), "{folder}");
        let component = read(&root.join(&folder).join("kustomization.yaml"));
        let patch = component["patches"][0]["patch"].as_str().unwrap();
        let patch: Value = serde_saphyr::from_str(patch).unwrap();
        let pod = &patch["spec"]["template"]["spec"];
        let told = &pod["containers"][0]["env"][0];
        assert_eq!(
            (&told["name"], &told["value"]),
            (&"WEIR_PLATFORM".into(), &platform.word().into())
        );
        let volumes = pod["volumes"].as_array().unwrap();
        let usual = Platform::Kubernetes.folders();
        // What is as usual is not said again.
        let path = |name: &str, usual| {
            let volume = volumes.iter().find(|volume| volume["name"] == name);
            volume.map_or(usual, |volume| volume["hostPath"]["path"].as_str().unwrap())
        };
        let found = [path("cni-bin", usual[0]), path("cni-conf", usual[1])];
        assert_eq!(found, platform.folders(), "{folder}");
    }
}

/// Every row says whether it was tried, and every preset has one.
#[test]
fn tables_of_platforms_say_whether_they_were_tried() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let install = read("docs/install.md");
    for table in [&install, &read("docs/platforms.md")] {
        let rows = table
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| platform"));
        for row in rows {
            let tried = row.contains("| tested here by ")
                || row.ends_with("| from documentation, not tested |");
            assert!(tried, "{row}");
        }
    }
    for preset in fs::read_dir(root.join("deploy/chart/presets")).unwrap() {
        let name = preset.unwrap().file_name().into_string().unwrap();
        let told = format!("`platform={}`", name.trim_end_matches(".yaml"));
        assert!(
            name == "kubernetes.yaml" || install.contains(&told),
            "{told}"
        );
    }
}

/// What README and book say of kind is what the workflow does.
#[test]
fn the_three_commands_for_kind_are_those_of_the_workflow() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let readme = read("README.md");
    let (_, after) = readme
        .split_once("```sh,norun (not tested: the workflow ci has it, and has not run since it uses Helm)\n")
        .unwrap();
    let commands: Vec<_> = after.lines().take_while(|line| *line != "```").collect();
    assert_eq!(commands.len(), 3);
    let workflow = read(".github/workflows/ci.yml");
    for command in commands[1..].iter().flat_map(|line| line.split(" && ")) {
        assert!(
            workflow.contains(&format!("- run: {}\n", command.trim())),
            "{command}"
        );
    }
    assert!(commands[0].contains("deploy/overlays/kind/kind-config.yaml"));
    assert!(workflow.contains("config: deploy/overlays/kind/kind-config.yaml"));
    assert!(read("docs/install.md").contains(&commands.join("\n")));
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
