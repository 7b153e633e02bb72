//! What the agent lacks is named, with what to do about it.

use std::process::Command;

use weir_tests::world::{Node, World, program};

/// Runs the agent, which fails; gives its exit code and what it says.
fn failure(mut command: Command, flags: &[&str]) -> (i32, String) {
    let output = command.args(flags).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

fn agent(node: &Node) -> Command {
    let mut command = node.command(program("proxy-agent").unwrap()).unwrap();
    // What configures another cluster is none of ours.
    command.env_remove("KUBECONFIG");
    command
}

fn node(name: &str) -> Node {
    World::new(name).unwrap().node("a").unwrap()
}

#[test]
fn what_the_machine_lacks_is_named() {
    let node = node("agent-preflight");
    let _taken = node.listen(([127, 0, 0, 1], 4711).into()).unwrap();
    let taken = [
        "--map-size",
        "small",
        "--metrics-bind-address",
        "127.0.0.1:4711",
    ];
    let absent = ["--map-size", "small", "--kubeconfig", "/absent"];
    for (flags, wanted, said, hint) in [
        (
            &["--bpffs", "/tmp", "--manifests", "/tmp"][..],
            1,
            "no BPF file system at /tmp",
            "mount -t bpf bpf /tmp",
        ),
        (
            &["--cgroup-root", "/tmp", "--manifests", "/tmp"],
            1,
            "no cgroup v2 hierarchy at /tmp",
            "cgroup",
        ),
        (
            &["--manifests", "/absent", "--map-size", "small"],
            1,
            "manifests: watching the manifests in /absent",
            "is /absent a folder",
        ),
        (
            &taken,
            1,
            "metricsBindAddress: listen on 127.0.0.1:4711: Address already in use",
            "`ss -ltnp`",
        ),
        (
            &absent,
            1,
            "clientConnection: ",
            "--kubeconfig names a file",
        ),
        (
            &["--config", "/absent.yaml"],
            2,
            "read configuration /absent.yaml",
            "--config names the file",
        ),
        (
            &["--instance", "a/b"],
            2,
            "--instance: instance: `a/b`",
            "instance takes text",
        ),
        (
            &["--set", "node.link=eth*"],
            2,
            "--set node.link: node.link: unknown setting",
            "did you mean `node.links`?",
        ),
        (
            &["--log-level", "a=b=c"],
            2,
            "--log-level: logging.level: `a=b=c`",
            "logging.level takes text",
        ),
        (
            &["--log-level", "loud"],
            2,
            "--log-level: logging.level: `loud`: `loud` is no level; there are error, warn, info, debug, trace, off",
            "logging.level takes text",
        ),
    ] {
        let (code, text) = failure(agent(&node), flags);
        assert_eq!(code, wanted, "{flags:?}: {text}");
        assert!(text.contains("error: "), "{flags:?}: {text}");
        assert!(text.contains(said), "{flags:?}: {text}");
        let told = text.lines().last().unwrap();
        assert!(
            told.starts_with("hint: ") && told.contains(hint),
            "{flags:?}: {text}"
        );
    }
    for flags in [
        ["--healthz-bind-address", "nowhere"],
        ["--service-cidr", "10.96.0.0/99"],
    ] {
        let (code, text) = failure(agent(&node), &flags);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(flags[0]), "{text}");
    }
}

#[test]
fn without_privileges_it_says_which_are_missing() {
    let node = node("agent-privileges");
    let mut command = node.command("setpriv").unwrap();
    command
        .args(["--bounding-set", "-all", "--inh-caps", "-all"])
        .arg(program("proxy-agent").unwrap());
    let flags = ["--log-level", "error", "--manifests", "/tmp"];
    let (code, text) = failure(command, &flags);
    assert_eq!(code, 1, "{text}");
    assert_eq!(
        text,
        "error: no privileges: CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN missing\n\
         hint: run as root, or in a container with securityContext.privileged or capabilities BPF, PERFMON and \
         NET_ADMIN\n"
    );
    let pins = node.run(&["find", "/sys/fs/bpf", "-name", "weir"]).unwrap();
    assert_eq!(pins, "", "nothing was touched");
}

/// As containers have it: a cgroup of its own, which looks like the root of all.
#[test]
fn a_containers_own_cgroup_is_refused() {
    let node = node("agent-own-cgroup");
    // One may be mounted over another, or below one that is gone by then.
    let script = "for at in $(grep ' cgroup2 ' /proc/mounts | cut -d' ' -f2); do umount -l $at || true; done\n\
                  mkdir -p /run/own && mount -t cgroup2 none /run/own\n\
                  test -e /run/own/cgroup.type || exit 99\nexec \"$@\"\n";
    let mut command = node.command("unshare").unwrap();
    command
        .args(["--mount", "--cgroup", "sh", "-ec", script, "sh"])
        .arg(program("proxy-agent").unwrap())
        .env_remove("KUBECONFIG");
    let flags = ["--manifests", "/tmp", "--map-size", "small"];
    let (code, text) = failure(command, &flags);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("a container's own cgroup"), "{text}");
    let hint = text.lines().last().unwrap();
    assert!(hint.contains("mount the node's /sys/fs/cgroup"), "{text}");
}

#[test]
fn the_bpf_file_system_is_mounted_once() {
    let node = node("agent-bpffs");
    let script =
        "umount -l /sys/fs/bpf\n\"$@\"\n\"$@\"\ngrep -c ' /sys/fs/bpf bpf ' /proc/mounts\n";
    let mut command = node.command("unshare").unwrap();
    command
        .args(["--mount", "sh", "-ec", script, "sh"])
        .arg(program("proxy-agent").unwrap())
        .args(["--log-format", "text", "mount-bpffs"]);
    let output = command.output().unwrap();
    let (text, log) = (output.stdout, output.stderr);
    let (text, log) = (
        String::from_utf8(text).unwrap(),
        String::from_utf8(log).unwrap(),
    );
    assert!(output.status.success(), "{text}{log}");
    assert_eq!(text.lines().last(), Some("1"), "{text}{log}");
    let mut command = agent(&node);
    command.args(["mount-bpffs", "--bpffs", "/absent"]);
    let (code, text) = failure(command, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("no BPF file system at /absent: it cannot be mounted"),
        "{text}"
    );
}

#[test]
fn pins_of_a_newer_version_are_refused_with_a_way_out() {
    let node = node("agent-newer");
    node.run(&["mkdir", "-p", "/sys/fs/bpf/weir/default/v99"])
        .unwrap();
    let flags = ["--log-level", "error", "--manifests", "/tmp"];
    let (code, text) = failure(agent(&node), &flags);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("error: the maps under "), "{text}");
    assert!(text.contains("schema 99"), "{text}");
    assert!(
        text.contains("\nhint: run the version that made them"),
        "{text}"
    );
    node.run(&[program("proxy-agent").unwrap().to_str().unwrap(), "cleanup"])
        .unwrap();
    let pins = node.run(&["find", "/sys/fs/bpf", "-name", "weir"]).unwrap();
    assert_eq!(pins, "", "the way out leads out");
}
