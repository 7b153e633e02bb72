//! `proxy-agent config`: what is in force and why, and what is wrong with a file, before anything is started.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use weir_tests::world::program;

fn config(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program("proxy-agent").unwrap());
    command.env_clear().envs(variables.iter().copied());
    command.arg("config").args(words).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("agent.yaml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn prints_what_is_in_force_and_where_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "cni:\n  mtu: 1400\nmaps: {size: small}\n");
    let words = [
        "print",
        "-o",
        "json",
        "--config",
        &path,
        "--link",
        "eth*",
        "--set",
        "node.links.include=wg?",
    ];
    let (code, out, told) = said(&config(&words, &[("WEIR_MAPS_SIZE", "large")]));
    assert_eq!((code, told.as_str()), (Some(0), ""), "{out}");
    let printed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(printed["apiVersion"], "weir.dev/v1alpha1");
    assert_eq!(printed["kind"], "EffectiveConfiguration");
    let (config_, origins) = (&printed["configuration"], &printed["origins"]);
    assert_eq!(config_["cni"]["mtu"], 1400);
    assert_eq!(origins["cni.mtu"], format!("{path}:2:3"));
    assert_eq!(config_["maps"]["size"], "large");
    assert_eq!(origins["maps.size"], "WEIR_MAPS_SIZE");
    assert_eq!(
        config_["node"]["links"]["include"],
        serde_json::json!(["eth*", "wg?"])
    );
    assert_eq!(origins["bpffs"], "default");

    // What it prints for people it takes as a file, with the same in force.
    let (code, yaml, _) = said(&config(&["print", "--config", &path], &[]));
    assert_eq!(code, Some(0));
    assert!(
        yaml.contains(&format!("  mtu: 1400  # {path}:2:3\n")),
        "{yaml}"
    );
    let again = file(folder.path(), &yaml);
    let (code, out, told) = said(&config(&["check", &again], &[]));
    assert_eq!((code, told.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with(&format!("{again}: sound, ")), "{out}");
}

#[test]
fn everything_wrong_with_a_file_is_told_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "cni:\n  mut: 1400\nnodePortAddresses: [primary]\n",
    );
    let (code, out, told) = said(&config(&["check", &path], &[]));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(
        told,
        format!(
            "error: {path}:2:3: cni.mut: unknown setting\n\
             hint: did you mean `cni.mtu`?\n\
             error: {path}:3:1: nodePortAddresses: unknown setting\n\
             hint: did you mean `node.nodePortAddresses`?\n"
        )
    );
    let (code, _, told) = said(&config(&["print"], &[("WEIR_MAP_SIZE", "small")]));
    assert_eq!(code, Some(2));
    assert_eq!(
        told,
        "error: WEIR_MAP_SIZE: maps.size: unknown setting\nhint: did you mean `WEIR_MAPS_SIZE`?\n"
    );
    // Kubernetes makes such for a Service called weir.
    let (code, ..) = said(&config(&["print"], &[("WEIR_PORT", "tcp://10.96.0.1:80")]));
    assert_eq!(code, Some(0));
    let (code, _, told) = said(&config(&["check", "/absent"], &[]));
    assert_eq!(code, Some(2));
    assert!(
        told.starts_with("error: read configuration /absent: ") && told.contains("\nhint: "),
        "{told}"
    );
}
