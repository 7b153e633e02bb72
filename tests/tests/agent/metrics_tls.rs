//! Metrics by TLS: who may read them, certificates that are renewed, and those that are no good.

use std::{fs, io, net::SocketAddr, path::PathBuf, process::Command, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use weir_tests::world::{Agent, Manifests, Node, World, http_get, http_get_over, until};

use super::fixture::PATIENCE;

const NAME: &str = "weir-metrics";
const METRICS: &str = "127.0.0.1:10249";

/// Authorities and what they have signed, as PEM.
struct Issued {
    folder: TempDir,
}

impl Issued {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, name: &str, words: &[&str]) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args([
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.pem"),
            ])
            .args(words)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{told}");
    }

    fn authority(&self, name: &str) {
        self.openssl(name, &["-subj", &format!("/CN={name}")]);
    }

    /// A certificate `name`, which says that it is [`NAME`].
    fn sign(&self, name: &str, authority: &str) {
        let [ca, key] = ["pem", "key"].map(|end| format!("{authority}.{end}"));
        let subject = format!("subjectAltName=DNS:{NAME}");
        let mut words = vec!["-subj", "/CN=x", "-CA", &ca, "-CAkey", &key];
        words.extend(["-addext", &subject]);
        words.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
        self.openssl(name, &words);
    }

    /// Puts what is called `name` in the place of what the agent reads, as a kubelet does: by a name that is changed.
    fn put(&self, name: &str) {
        for end in ["pem", "key"] {
            let [from, beside, to] =
                [name, "new", "server"].map(|it| self.file(&format!("{it}.{end}")));
            fs::copy(from, &beside).unwrap();
            fs::rename(beside, to).unwrap();
        }
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.file(&format!("{name}.pem"))).unwrap()
    }

    /// Somebody who trusts one authority and shows a certificate, if any.
    fn reader(&self, trusts: &str, shows: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate(trusts)).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match shows {
            None => config.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key"))).unwrap();
                config
                    .with_client_auth_cert(vec![self.certificate(name)], key)
                    .unwrap()
            }
        })
    }

    fn start(&self, node: &Node, authority_of_readers: Option<&str>) -> Agent {
        let file = |name: &str| self.file(name).display().to_string();
        let mut settings = vec![
            format!("metricsTLS.certFile={}", file("server.pem")),
            format!("metricsTLS.privateKeyFile={}", file("server.key")),
        ];
        let readers = authority_of_readers.map(|name| file(&format!("{name}.pem")));
        settings.extend(readers.map(|file| format!("metricsTLS.clientCAFile={file}")));
        let mut flags = vec!["--map-size", "small"];
        flags.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        Agent::start(node, &Manifests::new().unwrap(), &flags).unwrap()
    }
}

fn at() -> SocketAddr {
    METRICS.parse().unwrap()
}

/// The metrics, read by TLS.
fn read(node: &Node, reader: &Arc<ClientConfig>) -> io::Result<String> {
    let stream = node.connect(at())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let name = ServerName::try_from(NAME).unwrap();
    let connection = ClientConnection::new(Arc::clone(reader), name).map_err(io::Error::other)?;
    let stream = StreamOwned::new(connection, stream);
    http_get_over(stream, NAME, "/metrics").map(|(_, text)| text)
}

fn has_metrics(text: &str) -> bool {
    text.starts_with("HTTP/1.1 200") && text.contains("weir_build_info")
}

fn served(node: &Node, reader: &Arc<ClientConfig>) {
    let text = read(node, reader).unwrap();
    assert!(has_metrics(&text), "{text}");
}

fn refused(node: &Node, reader: &Arc<ClientConfig>) {
    let text = read(node, reader).unwrap_or_default();
    assert!(text.is_empty(), "{text}");
}

#[test]
fn metrics_are_read_by_tls_alone() {
    let world = World::new("metrics-tls").unwrap();
    let node = world.node("a").unwrap();
    let issued = Issued::new();
    issued.authority("ours");
    issued.sign("first", "ours");
    issued.put("first");
    let agent = issued.start(&node, None);

    served(&node, &issued.reader("ours", None));
    let plain = http_get(&node, at(), "/metrics");
    assert!(plain.is_err(), "{plain:?}");

    // Those who say nothing keep nobody waiting.
    let silent: Vec<_> = (0..200).map(|_| node.connect(at()).unwrap()).collect();
    served(&node, &issued.reader("ours", None));
    drop(silent);

    // Health is asked by kubelets and load balancers, which have no certificates.
    let (code, text) = http_get(&node, "127.0.0.1:10256".parse().unwrap(), "/healthz").unwrap();
    assert_eq!(code, 200, "{text}");
    // What the node itself has no key for it asks elsewhere.
    agent.proxyctl(&["sysdump", "/run/dump.tgz"]).unwrap();
    let listed = node
        .run(&[
            "tar",
            "-xzOf",
            "/run/dump.tgz",
            "weir-sysdump/agent/metrics.txt",
        ])
        .unwrap();
    assert!(listed.contains("weir_build_info"), "{listed}");
}

#[test]
fn only_those_are_served_whom_the_authority_knows() {
    let world = World::new("metrics-mtls").unwrap();
    let node = world.node("a").unwrap();
    let issued = Issued::new();
    for authority in ["ours", "readers", "strangers"] {
        issued.authority(authority);
    }
    issued.sign("first", "ours");
    issued.sign("prometheus", "readers");
    issued.sign("stranger", "strangers");
    issued.put("first");
    let _agent = issued.start(&node, Some("readers"));

    served(&node, &issued.reader("ours", Some("prometheus")));
    refused(&node, &issued.reader("ours", None));
    refused(&node, &issued.reader("ours", Some("stranger")));
    // An authority of servers is none of readers.
    refused(&node, &issued.reader("ours", Some("first")));
    served(&node, &issued.reader("ours", Some("prometheus")));
}

#[test]
fn a_certificate_is_renewed_and_one_that_is_no_good_is_not_taken() {
    let world = World::new("metrics-renew").unwrap();
    let node = world.node("a").unwrap();
    let issued = Issued::new();
    for (authority, name) in [("before", "first"), ("after", "second")] {
        issued.authority(authority);
        issued.sign(name, authority);
    }
    let agent = issued.start(&node, None);
    // There is none yet: the agent does its work all the same, and says so.
    refused(&node, &issued.reader("before", None));
    told(&agent, Some("metricsTLS.certFile: read"));

    issued.put("first");
    served(&node, &issued.reader("before", None));
    told(&agent, None);
    issued.put("second");
    served(&node, &issued.reader("after", None));
    refused(&node, &issued.reader("before", None));

    for (file, text) in [
        ("server.pem", ""),
        ("server.key", "no key"),
        ("server.pem", "x"),
    ] {
        fs::write(issued.file(file), text).unwrap();
        served(&node, &issued.reader("after", None));
        told(&agent, Some("metricsTLS."));
        issued.put("second");
        told(&agent, None);
    }
    // A key of another certificate.
    fs::copy(issued.file("first.key"), issued.file("server.key")).unwrap();
    served(&node, &issued.reader("after", None));
    told(&agent, Some("metricsTLS: "));
}

/// What `proxyctl status` says of the certificates.
fn told(agent: &Agent, problem: Option<&str>) {
    until(&format!("{problem:?} to be told"), PATIENCE, || {
        let (_, status) = agent.proxyctl_verdict(&["status"])?;
        let right = match problem {
            Some(problem) => status.contains(problem),
            None => !status.contains("metricsTLS"),
        };
        Ok(right.then_some(()))
    })
    .unwrap();
}
