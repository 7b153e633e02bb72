//! The agent comes and goes, the kernel keeps forwarding; what changes meanwhile is caught up with.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::json;
use weir_tests::world::{
    Cluster, Pod, Server, ask_tcp,
    cluster::{POD_PORT, SERVICE_PORT},
};

/// Both ways of translating.
const MODES: [&[&str]; 2] = [&[], &["--socket-balancing", "false"]];

fn serve(pod: &Pod) -> Vec<Server> {
    pod.at(POD_PORT)
        .into_iter()
        .map(|at| Server::tcp(pod, at, pod.name()).unwrap())
        .collect()
}

fn ask_until(cluster: &Cluster, client: &Pod, to: SocketAddr) {
    cluster
        .eventually(&format!("answer of {to}"), || ask_tcp(client, to).ok())
        .unwrap();
}

/// New connections, about 100 a second, while `change` is at work; none may fail.
fn under_traffic<T>(client: &Pod, to: &[SocketAddr], change: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                for to in to {
                    ask_tcp(client, *to)
                        .unwrap_or_else(|error| panic!("connection {count} to {to}: {error}"));
                    count += 1;
                }
                thread::sleep(Duration::from_millis(15));
            }
            count
        });
        let result = change();
        thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        assert!(traffic.join().unwrap() > 0, "no traffic");
        result
    })
}

#[test]
fn traffic_goes_on_while_the_agent_is_killed_and_comes_back() {
    for mode in MODES {
        let mut cluster = Cluster::start("killed", &["a", "b"], mode).unwrap();
        let client = cluster.pod(0, "client").unwrap();
        let (near, far) = (
            cluster.pod(0, "near").unwrap(),
            cluster.pod(1, "far").unwrap(),
        );
        let _servers = [serve(&near), serve(&far)];
        let to = cluster
            .service("web", 80, &[&near, &far], &json!({}))
            .unwrap()
            .map(|address| SocketAddr::new(address, SERVICE_PORT));
        for to in to {
            ask_until(&cluster, &client, to);
        }
        let open = client.connect(to[0]).unwrap();
        under_traffic(&client, &to, || {
            cluster.agent_mut(0).crash().unwrap();
            thread::sleep(Duration::from_millis(500));
            cluster.agent_mut(0).restart().unwrap();
        });
        echo(&open);
    }
}

#[test]
fn an_endpoint_that_goes_while_the_agent_is_down_is_gone_after_its_return() {
    let mut cluster = Cluster::start("catch-up", &["a"], &[]).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let (stays, goes) = (
        cluster.pod(0, "stays").unwrap(),
        cluster.pod(0, "goes").unwrap(),
    );
    let _servers = [serve(&stays), serve(&goes)];
    let to = cluster
        .service("web", 80, &[&stays, &goes], &json!({}))
        .unwrap()
        .map(|address| SocketAddr::new(address, SERVICE_PORT));
    for to in to {
        ask_until(&cluster, &client, to);
    }
    cluster.agent_mut(0).crash().unwrap();
    cluster.endpoints("web", &[&stays]).unwrap();
    under_traffic(&client, &to, || cluster.agent_mut(0).restart().unwrap());
    for to in to {
        cluster
            .eventually("only the endpoint that stays", || {
                only(&client, to, "stays")
            })
            .unwrap();
    }
}

#[test]
fn an_endpoint_removed_under_traffic_fails_no_connection() {
    for mode in MODES {
        let cluster = Cluster::start("removed", &["a", "b"], mode).unwrap();
        let client = cluster.pod(0, "client").unwrap();
        let (stays, goes) = (
            cluster.pod(0, "stays").unwrap(),
            cluster.pod(1, "goes").unwrap(),
        );
        let _servers = [serve(&stays), serve(&goes)];
        let to = cluster
            .service("web", 80, &[&stays, &goes], &json!({}))
            .unwrap()
            .map(|address| SocketAddr::new(address, SERVICE_PORT));
        for to in to {
            ask_until(&cluster, &client, to);
        }
        under_traffic(&client, &to, || {
            cluster.endpoints("web", &[&stays]).unwrap();
            for to in to {
                cluster
                    .eventually("only the endpoint that stays", || {
                        only(&client, to, "stays")
                    })
                    .unwrap();
            }
        });
    }
}

/// Whether many connections in a row were all answered by one.
fn only(client: &Pod, to: SocketAddr, name: &str) -> Option<()> {
    (0..30)
        .all(|_| ask_tcp(client, to).is_ok_and(|answer| answer.name == name))
        .then_some(())
}

/// An open connection still carries bytes both ways.
fn echo(mut stream: &std::net::TcpStream) {
    use std::io::{BufRead as _, BufReader, Write as _};
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    stream.write_all(b"still there\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap(); // The server's name.
    line.clear();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "still there\n");
}
