//! Health is served on both families, and on the one that there is.
#![expect(
    unsafe_code,
    reason = "a filter of system calls, between fork and exec"
)]

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use weir_tests::world::{Agent, Manifests, Node, Process, World, http_get, program, until};

use super::fixture::PATIENCE;

const LOAD_BALANCER: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: lb, namespace: default}\n\
    spec:\n  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 32000\n\
    \x20 clusterIP: 10.96.0.10\n  clusterIPs: [10.96.0.10]\n  ports: [{port: 80, nodePort: 30080}]\n";

/// Waits until a path answers with this code at an address of the node.
fn answers(node: &Node, ip: IpAddr, port: u16, path: &str, wanted: u16) {
    let at = SocketAddr::new(ip, port);
    until(&format!("{wanted} of {at}{path}"), PATIENCE, || {
        let (code, _) = http_get(node, at, path)?;
        Ok((code == wanted).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn health_answers_on_both_families_whatever_bindv6only_says() {
    for only in ["0", "1"] {
        let world = World::new("agent-families").unwrap();
        let node = world.node("a").unwrap();
        let setting = format!("net.ipv6.bindv6only={only}");
        node.run(&["sysctl", "-qw", &setting]).unwrap();
        let manifests = Manifests::new().unwrap();
        let _agent = Agent::start(&node, &manifests, &["--map-size", "small"]).unwrap();
        manifests.apply("lb.yaml", LOAD_BALANCER).unwrap();
        for ip in node.addresses() {
            answers(&node, ip, 10256, "/healthz", 200);
            answers(&node, ip, 10256, "/livez", 200);
            answers(&node, ip, 32000, "/", 503);
        }
    }
}

#[test]
fn node_port_addresses_that_match_nothing_open_no_health_check() {
    let world = World::new("agent-hcnpn").unwrap();
    let node = world.node("a").unwrap();
    let manifests = Manifests::new().unwrap();
    let nowhere = "203.0.113.0/24,2001:db8::/32";
    let flags = ["--map-size", "small", "--nodeport-addresses", nowhere];
    let agent = Agent::start(&node, &manifests, &flags).unwrap();
    manifests.apply("lb.yaml", LOAD_BALANCER).unwrap();
    until("the Service to be there", PATIENCE, || {
        let dump = agent.proxyctl(&["dump", "services"])?;
        Ok(dump.contains("default/lb").then_some(()))
    })
    .unwrap();
    // Listeners are looked at each second.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let open = node.run(&["ss", "-Hltn", "sport = :32000"]).unwrap();
    assert_eq!(open, "");
}

/// From now on the kernel answers as one without IPv6 (`ipv6.disable=1`) does, to whoever wants such a socket.
fn refuse_ipv6() -> io::Result<()> {
    let code = |bits: u32| bits as u16;
    let load = |offset| libc::sock_filter {
        code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS),
        jt: 0,
        jf: 0,
        k: offset,
    };
    let unless_equal = |value, skip| libc::sock_filter {
        code: code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K),
        jt: 0,
        jf: skip,
        k: value,
    };
    let answer = |value| libc::sock_filter {
        code: code(libc::BPF_RET | libc::BPF_K),
        jt: 0,
        jf: 0,
        k: value,
    };
    // Number of the call, then its first argument (`struct seccomp_data`).
    let mut filter = [
        load(0),
        unless_equal(libc::SYS_socket as u32, 3),
        load(16),
        unless_equal(libc::AF_INET6.unsigned_abs(), 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.unsigned_abs()),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program points to the filter, which the kernel copies.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn without_ipv6(mut command: Command) -> Process {
    // SAFETY: it makes one system call and touches nothing of the parent's.
    unsafe { command.pre_exec(refuse_ipv6) };
    Process::start(command).unwrap()
}

#[test]
fn health_answers_on_a_host_without_ipv6() {
    let world = World::new("agent-v4").unwrap();
    let node = world.node("a").unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.node(&node).unwrap();
    manifests.apply("lb.yaml", LOAD_BALANCER).unwrap();
    let log = File::create(node.file("/run/agent.log")).unwrap();
    let mut command = node.command(program("proxy-agent").unwrap()).unwrap();
    command
        .args(["--node-name", "a", "--manifests"])
        .arg(manifests.path())
        .args(["--map-size", "small", "--log-format", "text"])
        .args(["--node-address", &node.ipv4().to_string()])
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let _agent = without_ipv6(command);
    for ip in [Ipv4Addr::LOCALHOST, node.ipv4()] {
        answers(&node, ip.into(), 10256, "/healthz", 200);
        answers(&node, ip.into(), 10256, "/livez", 200);
        answers(&node, ip.into(), 32000, "/", 503);
    }
}
