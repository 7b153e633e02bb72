//! An API server that does not answer: the agent works from the pinned state, says so, and keeps trying.

use std::{
    fs,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use weir_tests::world::{Node, Process, World, program, until};

use super::fixture::{PATIENCE, VIP4, VIP6, get, reach, service, service_maps, start, web};

const LOG: &str = "/run/unreachable.log";

/// A port at which every connection ends at once; counts them.
fn hangs_up(node: &Node) -> (u16, Arc<AtomicUsize>) {
    let listener = node.listen(([127, 0, 0, 1], 0).into()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, count)
}

fn kubeconfig(node: &Node, port: u16) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
         clusters: [{{name: x, cluster: {{server: 'https://127.0.0.1:{port}'}}}}]\n\
         users: [{{name: x, user: {{token: x}}}}]\n\
         contexts: [{{name: x, context: {{cluster: x, user: x}}}}]\n"
    );
    fs::write(node.file("/run/kubeconfig"), text).unwrap();
}

fn agent(node: &Node, api_server: &str) -> Process {
    let log = fs::File::create(node.file(LOG)).unwrap();
    let mut command = node.command(program("proxy-agent").unwrap()).unwrap();
    command
        .args(["--node-name", node.name()])
        .args([
            "--kubeconfig",
            "/run/kubeconfig",
            "--api-server",
            api_server,
        ])
        .args(["--map-size", "small", "--log-format", "text"])
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    Process::start(command).unwrap()
}

#[test]
fn what_is_pinned_serves_on_while_no_api_server_answers() {
    let world = World::new("agent-no-api").unwrap();
    let node = world.node("a").unwrap();
    let client = node.plain_pod("client").unwrap();
    let (server, _tcp) = web(&node);
    let mut former = start(&node);
    let yaml = service("web", [VIP4, VIP6], "TCP", &server.addresses());
    former.apply("web.yaml", &yaml).unwrap();
    reach(&client, VIP4, "web").unwrap();
    reach(&client, VIP6, "web").unwrap();
    let before = service_maps(&node);
    former.agent.terminate().unwrap();

    let (port, attempts) = hangs_up(&node);
    kubeconfig(&node, port);
    let url = format!("https://127.0.0.1:1,https://127.0.0.1:{port}");
    let mut process = agent(&node, &url);
    let log = || fs::read_to_string(node.file(LOG)).unwrap();
    // They come at growing intervals.
    until("several attempts", PATIENCE, || {
        assert!(process.ended().unwrap().is_none(), "{}", log());
        Ok((attempts.load(Ordering::Relaxed) >= 4).then_some(()))
    })
    .unwrap();
    let said = "API server unreachable; keeping what is programmed, retrying";
    let log = log();
    assert!(log.contains(said), "{log}");
    assert!(log.contains("https://127.0.0.1:1/"), "{log}");
    assert_eq!(service_maps(&node), before, "{log}");
    for _ in 0..10 {
        reach(&client, VIP4, "web").unwrap();
        reach(&client, VIP6, "web").unwrap();
    }
    // Alive, not ready, and it says what it waits for.
    assert_eq!(get(&node, 10256, "/livez").unwrap().0, 200);
    let (code, text) = get(&node, 10256, "/readyz").unwrap();
    assert_eq!(code, 503, "{text}");
    assert!(text.contains("list of EndpointSlice"), "{text}");
}
