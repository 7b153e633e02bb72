//! Where the runtime looks for plugins.

use crate::stage::Stage;

#[test]
fn a_folder_is_read_only() {
    let stage = Stage::set("folder");
    stage.plant("mount -t tmpfs -o ro tmpfs /run/cni/net.d");
    stage.cured("cni-folder-read-only");
    let stage = Stage::set("no-folder").with(&["--set=cni.binDir=/run/ro/opt/cni/bin"]);
    stage.plant("mkdir /run/ro; mount -t tmpfs -o ro tmpfs /run/ro");
    stage.cured("cni-folder-read-only");
}

#[test]
fn programs_may_not_run_in_a_folder() {
    let stage = Stage::set("noexec");
    stage.plant("mount -t tmpfs -o noexec tmpfs /run/cni/bin");
    stage.cured("cni-folder-noexec");
}

#[test]
fn the_runtime_looks_elsewhere() {
    let stage = Stage::set("runtime");
    stage.plant(
        "mkdir /run/elsewhere; mount -t tmpfs tmpfs /etc; mkdir /etc/containerd
         cat > /etc/containerd/config.toml <<'END'
version = 2
[plugins.\"io.containerd.grpc.v1.cri\".cni]
  bin_dir = \"/run/elsewhere/bin\"
  conf_dir = \"/run/elsewhere/net.d\"
END",
    );
    assert_eq!(stage.named("runtime-looks-elsewhere").len(), 2);
    stage.cured("runtime-looks-elsewhere");
}
