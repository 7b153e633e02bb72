//! What the agent lacks is named.

use weir_tests::world::{World, program};

#[test]
fn what_the_machine_lacks_is_named() {
    let world = World::new("agent-preflight").unwrap();
    let node = world.node("a").unwrap();
    let program = program("proxy-agent").unwrap();
    let failing = |flags: &[&str]| {
        let output = node
            .command(&program)
            .unwrap()
            .args(flags)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    for (flags, wanted, said) in [
        (&["--bpffs", "/tmp"][..], 1, "no BPF file system at /tmp"),
        (
            &["--cgroup-root", "/tmp"],
            1,
            "no cgroup v2 hierarchy at /tmp",
        ),
        (
            &["--manifests", "/absent", "--map-size", "small"],
            1,
            "/absent",
        ),
        (
            &["--config", "/absent.yaml"],
            2,
            "read configuration /absent.yaml",
        ),
        (&["--instance", "a/b"], 2, "flags: instance: `a/b`"),
        (
            &["--log-level", "a=b=c"],
            2,
            "flags: logging.level: `a=b=c`",
        ),
        (&["--service-cidr", "10.96.0.0/99"], 2, "--service-cidr"),
        (
            &["--healthz-bind-address", "nowhere"],
            2,
            "--healthz-bind-address",
        ),
    ] {
        let (code, text) = failing(flags);
        assert_eq!(code, wanted, "{flags:?}: {text}");
        assert!(text.contains("error: "), "{flags:?}: {text}");
        assert!(text.contains(said), "{flags:?}: {text}");
    }
}
