//! Kernel, privileges and mounts.

use crate::stage::Stage;

#[test]
fn nothing_planted_no_complaint() {
    let mut stage = Stage::set("nothing");
    stage.words.retain(|word| word != "--skip=programs");
    stage.well();
}

#[test]
fn no_bpf_file_system() {
    let stage = Stage::set("bpffs").with(&["--bpffs=/run/plain"]);
    stage.plant("mkdir /run/plain");
    stage.cured("no-bpffs");
    Stage::set("no-bpffs")
        .with(&["--bpffs=/run/absent/bpf"])
        .cured("no-bpffs");
}

#[test]
fn what_a_container_mounts_stays_there() {
    let stage = Stage::set("not-shared");
    stage.plant("mount --make-private /sys");
    stage.cured("sys-not-shared");
}

#[test]
fn a_cgroup_root_that_is_none() {
    let stage = Stage::set("cgroup").with(&["--set=cgroupRoot=/run/plain"]);
    stage.plant("mkdir /run/plain");
    stage.cured("no-cgroup2");
}

#[test]
fn a_containers_own_cgroup() {
    let mut stage = Stage::set("own-cgroup");
    stage
        .words
        .retain(|word| !word.starts_with("--set=cgroupRoot="));
    let own = stage.node.cgroup_root().path().display().to_string();
    stage.plant(&format!(
        "mkdir /run/own; mount --bind {own} /run/own; mount -t cgroup2 none /sys/fs/cgroup"
    ));
    stage.well();
    // As a container sees its own: all other mounts of the hierarchy are hidden.
    stage.plant(
        "awk '$3 == \"cgroup2\" && $2 != \"/run/own\" {print $2}' /proc/mounts | while read place; do
             if [ -d $place ]; then mount --bind /run/own $place; fi
         done",
    );
    stage.named("container-cgroup");
    // The hint: mount the node's, and name it.
    stage.plant("mkdir /run/whole; mount -t cgroup2 none /run/whole");
    stage.with(&["--set=cgroupRoot=/run/whole"]).well();
}

/// The chart mounts the node's `/sys/fs/cgroup` at a place of the container: what it finds there counts, whoever is asked.
#[test]
fn the_cgroup_is_where_the_chart_looks_for_it() {
    for told in [&[][..], &["--set=cgroupRoot=/host/cgroup"]] {
        let mut stage = Stage::set("chart-cgroup");
        stage
            .words
            .retain(|word| !word.starts_with("--set=cgroupRoot="));
        let mut stage = stage.with(told);
        stage.plant(
            "mount -t tmpfs tmpfs /sys/fs/cgroup; mkdir /run/v2; mount -t cgroup2 none /run/v2",
        );
        let [found] = stage.named("no-cgroup2").try_into().unwrap();
        assert_eq!((found.level.as_str(), found.remedy), ("warning", None));
        assert!(
            found
                .text
                .contains("/run/v2, and the chart mounts /sys/fs/cgroup")
        );
        stage.words.push("--set=cgroupRoot=/run/v2".to_owned());
        stage.well();
        stage.words.pop();
        stage.plant("umount /run/v2; mount -t cgroup2 none /sys/fs/cgroup");
        stage.well();
    }
}

#[test]
fn a_capability_is_missing() {
    let mut stage = Stage::set("capability");
    let by = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin"];
    stage.by = by.map(str::to_owned).into();
    let [found] = stage.named("missing-capability").try_into().unwrap();
    assert!(found.text.contains("CAP_BPF, CAP_PERFMON"), "{found:?}");
    stage.by.clear();
    stage.well();
}

#[test]
fn programs_are_interpreted() {
    let mut stage = Stage::set("jit");
    stage.words.retain(|word| word != "--skip=programs");
    stage.plant(
        "mount -t tmpfs tmpfs /proc/sys/net/core
         echo 0 > /proc/sys/net/core/bpf_jit_enable",
    );
    stage.cured("jit-off");
}

#[test]
fn the_kernel_takes_no_programs() {
    let mut stage = Stage::set("refused");
    stage.words.retain(|word| word != "--skip=programs");
    // Maps need a descriptor each.
    stage.by = ["prlimit", "--nofile=24"].map(str::to_owned).into();
    let [found] = stage.named("programs-refused").try_into().unwrap();
    assert!(found.text.contains("Too many open files"), "{found:?}");
    stage.by.clear();
    stage.well();
}

#[test]
fn the_kernel_does_not_describe_its_types() {
    let stage = Stage::set("btf");
    stage.plant("mount -t tmpfs tmpfs /sys/kernel/btf");
    stage.named("no-btf");
    stage.plant("umount /sys/kernel/btf");
    stage.well();
}

#[test]
fn a_configuration_that_cannot_be() {
    let mut stage = Stage::set("configuration").with(&["--set=maps.size=tiny"]);
    let found = stage.complaints();
    assert_eq!(found[0].fault, "configuration-wrong", "{found:?}");
    assert!(
        found[0].text.contains("unknown variant `tiny`"),
        "{found:?}"
    );
    stage.words.pop();
    stage.well();
}
