//! Whatever asks an API server that is silent ends, and says why: one that takes connections and says nothing, and one that
//! takes none.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};
use weir_tests::world::{program, until};

/// What asks the API server at once.
const ASK: [&[&str]; 7] = [
    &["status", "--all-nodes"],
    &["status", "--node", "a"],
    &["version", "--all-nodes"],
    &[
        "policy",
        "why",
        "default/a",
        "default/b",
        "80",
        "--all-nodes",
    ],
    &["diff", "--all-nodes"],
    &["connectivity", "test"],
    &["dump", "services", "--node", "a"],
];

/// Far beyond the time-outs.
const LIMIT: Duration = Duration::from_mins(2);

/// Listens, and lets nobody in.
struct Silent {
    at: SocketAddr,
    _socket: Socket,
    _crowd: Vec<Socket>,
}

impl Silent {
    /// The kernel takes connections for it; or none any more, because so many wait already.
    fn new(takes: bool) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&SockAddr::from(any)).unwrap();
        socket.listen(if takes { 128 } else { 0 }).unwrap();
        let at = socket.local_addr().unwrap().as_socket().unwrap();
        let mut crowd = Vec::new();
        if !takes {
            for _ in 0..4 {
                let one = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                one.set_nonblocking(true).unwrap();
                // It is under way, which is all that it is for.
                drop(one.connect(&SockAddr::from(at)));
                crowd.push(one);
            }
            let late = TcpStream::connect_timeout(&at, Duration::from_millis(500));
            late.unwrap_err();
        }
        Self {
            at,
            _socket: socket,
            _crowd: crowd,
        }
    }
}

fn kubeconfig(server: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\", insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    fs::write(file.path(), text).unwrap();
    file
}

fn ask(words: &[&str], kubeconfig: &tempfile::NamedTempFile) -> Child {
    Command::new(program("proxyctl").unwrap())
        .args(words)
        .arg("--kubeconfig")
        .arg(kubeconfig.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn nobody_waits_for_ever_for_an_api_server_that_is_silent() {
    for takes in [true, false] {
        let silent = Silent::new(takes);
        for scheme in ["http", "https"] {
            let file = kubeconfig(&format!("{scheme}://{}", silent.at));
            let asked = ASK.map(|words| (words, ask(words, &file)));
            for (words, mut child) in asked {
                let what = format!("{words:?} of {scheme}, taken: {takes}");
                let ended = until(&what, LIMIT, || Ok(child.try_wait()?));
                if ended.is_err() {
                    child.kill().unwrap();
                }
                let said = child.wait_with_output().unwrap();
                let text = String::from_utf8(said.stderr).unwrap();
                assert!(ended.is_ok(), "{what} hangs: {text}");
                assert_eq!(said.status.code(), Some(3), "{what}: {text}");
                assert!(text.contains("no answer in time"), "{what}: {text}");
                assert!(
                    text.contains("hint: the API server of the kubeconfig is silent"),
                    "{what}: {text}"
                );
            }
        }
    }
}
