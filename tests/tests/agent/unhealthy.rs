//! Health that fails: what the kernel does not take is not applied, and a task that stands still is named.

use std::{fs, time::Duration};

use nix::{sys::ptrace, sys::wait::waitpid, unistd::Pid};
use weir_tests::world::{Agent, Manifests, Node, World, until};

use super::{
    fixture::{PATIENCE, VIP4, VIP6, get, service},
    frozen::freeze_map,
};

/// Full comparisons each second make health's time-out two.
pub(super) const CONFIGURATION: &str =
    "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\nsync: { fullPeriod: 1s }\n";

pub(super) const LOAD_BALANCER: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: lb, namespace: default}\n\
    spec:\n  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 32000\n\
    \x20 clusterIP: 10.96.0.99\n  clusterIPs: [10.96.0.99]\n  ports: [{port: 80, nodePort: 30080}]\n\
    ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
    metadata: {name: lb-1, namespace: default, labels: {kubernetes.io/service-name: lb}}\n\
    addressType: IPv4\nports: [{name: \"\", port: 8080, protocol: TCP}]\n\
    endpoints:\n- {addresses: [10.244.1.9], nodeName: a}\n";

fn start(node: &Node, manifests: &Manifests) -> Agent {
    let configuration = tempfile::NamedTempFile::new().unwrap();
    fs::write(configuration.path(), CONFIGURATION).unwrap();
    let path = configuration.path().to_str().unwrap();
    let flags = ["--map-size", "small", "--config", path];
    Agent::start(node, manifests, &flags).unwrap()
}

/// Waits for an answer whose body says so.
pub(super) fn answers(node: &Node, (port, path): (u16, &str), wanted: u16, said: &str) -> String {
    let mut seen = String::new();
    until(&format!("{wanted} and {said}"), PATIENCE, || {
        let (code, text) = get(node, port, path)?;
        let is_so = code == wanted && text.contains(said);
        seen = text;
        Ok(is_so.then_some(()))
    })
    .unwrap_or_else(|error| panic!("{path}: {error:#}: {seen}"));
    seen
}

pub(super) const HEALTHZ: (u16, &str) = (10256, "/healthz");
pub(super) const LIVEZ: (u16, &str) = (10256, "/livez");
pub(super) const CHECK: (u16, &str) = (32000, "/");

#[test]
fn a_write_that_the_kernel_refuses_makes_the_node_unhealthy() {
    let world = World::new("agent-frozen").unwrap();
    let node = world.node("a").unwrap();
    let manifests = Manifests::new().unwrap();
    let _agent = start(&node, &manifests);
    manifests.apply("lb.yaml", LOAD_BALANCER).unwrap();
    answers(&node, CHECK, 200, "\"serviceProxyHealthy\":true");
    answers(&node, HEALTHZ, 200, "nodeEligible");

    freeze_map(&node, "FRONTENDS4");
    let web = service("web", [VIP4, VIP6], "TCP", &["10.244.1.9".parse().unwrap()]);
    manifests.apply("web.yaml", &web).unwrap();
    let named = "Services: changes not applied";
    for at in [HEALTHZ, LIVEZ, CHECK] {
        let text = answers(&node, at, 503, named);
        assert!(text.contains("FRONTENDS4"), "{text}");
    }
    // It stays so, whatever else is compared meanwhile.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(get(&node, 10256, "/healthz").unwrap().0, 503);
    // What cannot be written is not wanted any more.
    manifests.remove("web.yaml").unwrap();
    answers(&node, HEALTHZ, 200, "nodeEligible");
    answers(&node, CHECK, 200, "\"serviceProxyHealthy\":true");
}

/// Stops a thread where it waits for news: there it holds nothing that others need.
fn stop_while_it_waits(thread: Pid) {
    const WAITING: [libc::c_long; 3] = [libc::SYS_futex, libc::SYS_epoll_wait, libc::SYS_ppoll];
    ptrace::seize(thread, ptrace::Options::empty()).unwrap();
    until("a thread that waits", Duration::from_secs(20), || {
        ptrace::interrupt(thread)?;
        waitpid(thread, None)?;
        let call = fs::read_to_string(format!("/proc/{thread}/syscall"))?;
        let number = call.split(' ').next().and_then(|word| word.parse().ok());
        if number.is_some_and(|number| WAITING.contains(&number)) {
            return Ok(Some(()));
        }
        ptrace::cont(thread, None)?;
        Ok(None)
    })
    .unwrap();
}

#[test]
fn a_main_loop_that_the_kernel_does_not_run_is_noticed_and_so_are_changes_that_wait() {
    let world = World::new("agent-stopped").unwrap();
    let node = world.node("a").unwrap();
    let manifests = Manifests::new().unwrap();
    let agent = start(&node, &manifests);
    answers(&node, LIVEZ, 200, "nodeEligible");
    // The first thread of the process is the main loop's; the others go on.
    let thread = Pid::from_raw(agent.id().unwrap().cast_signed());
    stop_while_it_waits(thread);
    let web = service("web", [VIP4, VIP6], "TCP", &["10.244.1.9".parse().unwrap()]);
    manifests.apply("web.yaml", &web).unwrap();
    answers(&node, HEALTHZ, 503, "changes have waited");
    until("the main loop to be named", Duration::from_secs(45), || {
        let (code, text) = get(&node, 10256, "/livez")?;
        Ok((code == 503 && text.contains("main loop has stood still")).then_some(()))
    })
    .unwrap();
    let (code, text) = agent.proxyctl_verdict(&["status"]).unwrap();
    assert_eq!(code, 1, "{text}");
    let said = "ERROR Health: main loop has stood still for ";
    assert!(text.contains(said), "{text}");
    ptrace::detach(thread, None).unwrap();
    answers(&node, LIVEZ, 200, "nodeEligible");
    answers(&node, HEALTHZ, 200, "nodeEligible");
}
