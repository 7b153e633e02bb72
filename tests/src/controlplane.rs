//! A real control plane for one test: etcd and kube-apiserver, on request kube-controller-manager.
//!
//! On free loopback ports, in a temporary folder, gone when dropped (or when the test process dies).
//! No scheduler and no kubelet: the test writes Pods, Nodes and their status itself.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

mod apply;
#[path = "../../xtask/src/cache.rs"]
pub(crate) mod cache;
mod kubelet;
mod observer;
mod process;
mod proxy;

pub use kubelet::{Exec, Kubelet, log as log_of_container};
pub use observer::Observer;
pub use proxy::{Fault, Hold, Proxy};

use process::Process;

use crate::world::kubernetes::{self, Trust};

/// `ServiceCIDRs` of the API server, IPv4 first.
pub const SERVICE_CIDRS: &str = "10.96.0.0/16,fd00:10:96::/112";
/// `PodCIDRs` that the controller manager gives to nodes, a /24 and a /64 each.
pub const CLUSTER_CIDRS: &str = "10.244.0.0/16,fd00:10:244::/56";

const TOKEN: &str = "weir-test-admin";
/// Of the user `limited`, who has no rights but those that a test gives.
const LIMITED_TOKEN: &str = "weir-test-limited";
/// Far beyond the 5 s that it takes on an idle machine.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// The running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: clients before servers.
    controllers: Option<Process>,
    apiserver: Option<Process>,
    _etcd: Process,
    programs: Programs,
    shape: kubernetes::ControlPlane,
    kubeconfig: PathBuf,
    folder: TempDir,
}

/// The API server makes it some time after it is ready.
const SYSTEM: &str = r"
apiVersion: v1
kind: Namespace
metadata: { name: kube-system }
";

/// The agent's own rights in its namespace, for the user `limited`.
const LIMITED: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: limited, namespace: kube-system }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: weir }
subjects: [{ kind: User, name: limited, apiGroup: rbac.authorization.k8s.io }]
";

/// What a cluster has anyway.
const CLUSTER: &str = r"
apiVersion: v1
kind: Node
metadata: { name: a }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: default }
";

/// Where the programs are.
#[derive(Debug)]
struct Programs {
    etcd: PathBuf,
    apiserver: PathBuf,
    controllers: PathBuf,
}

impl Programs {
    fn find() -> Result<Self> {
        Ok(Self {
            etcd: go_program("etcd", "etcd", "control-plane")?,
            apiserver: go_program("kubernetes", "kube-apiserver", "control-plane")?,
            controllers: go_program("kubernetes", "kube-controller-manager", "control-plane")?,
        })
    }
}

/// Where a program of `tests/cluster/MODULE` is; `cargo xtask setup SETUP` puts it there.
pub fn go_program(module: &str, name: &str, setup: &str) -> Result<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = cache::go_programs(&checkout, module).map_err(|error| anyhow!(error))?;
    let path = folder.join(name);
    if !path.exists() {
        bail!(
            "no {name} at {}\nhint: run `cargo xtask setup {setup}`",
            path.display()
        );
    }
    Ok(path)
}

/// Where mdbook is; `cargo xtask setup deploy` puts it there.
pub fn mdbook() -> Result<PathBuf> {
    let path = cache::crate_program("mdbook", cache::MDBOOK).map_err(|error| anyhow!(error))?;
    ensure!(
        path.exists(),
        "no mdbook at {}\nhint: run `cargo xtask setup deploy`",
        path.display()
    );
    Ok(path)
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver, and returns when the API server is ready.
    pub async fn start() -> Result<Self> {
        let programs = Programs::find()?;
        let folder = tempfile::Builder::new()
            .prefix("weir-controlplane-")
            .tempdir()?;
        let [client, peer, port] = free_ports()?;
        let shape = kubernetes::ControlPlane {
            folder: folder.path().to_owned(),
            etcd: [client, peer],
            bind: (Ipv4Addr::LOCALHOST, port).into(),
            advertise: None,
            services: SERVICE_CIDRS.to_owned(),
        };
        shape.write_credentials(&[
            &format!("{TOKEN},admin,admin,system:masters"),
            &format!("{LIMITED_TOKEN},limited,limited"),
        ])?;
        let log = folder.path().join("etcd.log");
        let etcd = Process::start(&programs.etcd, &shape.etcd_flags(), log)?;
        let mut plane = Self {
            controllers: None,
            apiserver: None,
            _etcd: etcd,
            programs,
            kubeconfig: folder.path().join("kubeconfig"),
            shape,
            folder,
        };
        plane.write_kubeconfig(&plane.kubeconfig, TOKEN)?;
        plane.start_apiserver().await?;
        Ok(plane)
    }

    /// As [`Self::start`], with the controllers for endpoint slices, nodes' podCIDRs and namespaces.
    pub async fn with_controllers() -> Result<Self> {
        let mut plane = Self::start().await?;
        plane.start_controllers()?;
        Ok(plane)
    }

    /// A kubeconfig file for an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig file for the user `limited`.
    pub fn limited_kubeconfig(&self) -> Result<PathBuf> {
        let path = self.folder.path().join("limited-kubeconfig");
        self.write_kubeconfig(&path, LIMITED_TOKEN)?;
        Ok(path)
    }

    fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<()> {
        let certificate = self.shape.certificate();
        let text = kubernetes::kubeconfig(&self.url(), Trust::At(&certificate), token);
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Applies a file of `deploy/base`.
    pub async fn deploy(&self, file: &str) -> Result<()> {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/base");
        self.system().await?;
        self.apply(&fs::read_to_string(Path::new(base).join(file))?)
            .await
    }

    /// Gives user `limited` the rights of a `ClusterRole`.
    pub async fn grant(&self, role: &str) -> Result<()> {
        self.apply(&format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{ name: {role} }}\n\
             roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role} }}\n\
             subjects: [{{ kind: User, name: limited, apiGroup: rbac.authorization.k8s.io }}]\n"
        ))
        .await
    }

    /// Gives user `limited` the rights that `deploy/` gives the agent; a kubeconfig file for that user.
    pub async fn agents_rights(&self) -> Result<PathBuf> {
        self.deploy("rbac.yaml").await?;
        self.grant("weir").await?;
        self.apply(LIMITED).await?;
        self.limited_kubeconfig()
    }

    /// [`Self::agents_rights`], with a Node `a` and what else a cluster has anyway.
    pub async fn agents_kubeconfig(&self) -> Result<PathBuf> {
        self.apply(CLUSTER).await?;
        self.agents_rights().await
    }

    /// Certificate and token that a Pod would find in its service account's folder.
    pub fn credentials(&self) -> Result<[String; 2]> {
        let certificate = fs::read_to_string(self.shape.certificate())?;
        Ok([certificate, TOKEN.to_owned()])
    }

    /// A way to the API server by another address of this machine, which its certificate does not hold.
    pub async fn forward(&self, address: IpAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind((address, 0)).await?;
        let at = listener.local_addr()?;
        let to = self.shape.bind;
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(to).await {
                        // Either side may end it.
                        copy_bidirectional(&mut client, &mut server).await.ok();
                    }
                });
            }
        });
        Ok(at)
    }

    /// Makes etcd forget all but what is there now.
    pub async fn compact(&self) -> Result<()> {
        let client = self.client().await?;
        let request = http::Request::get("/api/v1/namespaces?limit=1").body(Vec::new())?;
        let list: serde_json::Value = client.request(request).await?;
        let revision = &list["metadata"]["resourceVersion"];
        let body = serde_json::json!({ "revision": revision, "physical": true }).to_string();
        let address = self.shape.etcd_address();
        let mut stream = std::net::TcpStream::connect(&address)?;
        write!(
            stream,
            "POST /v3/kv/compaction HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 200") {
            bail!("etcd does not compact: {answer}");
        }
        Ok(())
    }

    /// The API server's URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.shape.bind)
    }

    /// A new client for an administrator.
    pub async fn client(&self) -> Result<Client> {
        let read = Kubeconfig::read_from(&self.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        Client::try_from(config).context("cannot make a client of the test's kubeconfig")
    }

    /// Creates or changes every object of a YAML stream, by server-side apply.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        apply::apply(&self.client().await?, yaml, false).await
    }

    /// Whether the API server would take every object of a YAML stream; it keeps none of them.
    pub async fn would_take(&self, yaml: &str) -> Result<()> {
        apply::apply(&self.client().await?, yaml, true).await
    }

    /// Makes the namespace `kube-system`, which the API server makes some time after it is ready.
    pub async fn system(&self) -> Result<()> {
        self.apply(SYSTEM).await
    }

    /// Kills the API server; watches break, connections are refused.
    pub fn stop_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Starts the API server (again), on the same port and with the same objects.
    pub async fn start_apiserver(&mut self) -> Result<()> {
        // Would keep us waiting at every restart, and nobody here reads the kubernetes Endpoints.
        let flags = self
            .shape
            .apiserver_flags(&["--endpoint-reconciler-type=none"]);
        self.apiserver = Some(Process::start(
            &self.programs.apiserver,
            &flags,
            self.folder.path().join("kube-apiserver.log"),
        )?);
        self.wait_until_ready().await
    }

    /// Starts kube-controller-manager.
    pub fn start_controllers(&mut self) -> Result<()> {
        let flags =
            self.shape
                .controllers_flags(&self.kubeconfig, CLUSTER_CIDRS, &["--secure-port=0"]);
        let log = self.folder.path().join("kube-controller-manager.log");
        self.controllers = Some(Process::start(&self.programs.controllers, &flags, log)?);
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let process = self
                .apiserver
                .as_ref()
                .context("the API server was not started")?;
            if let Some(log) = process.exited() {
                bail!("kube-apiserver ended; end of its log:\n{log}");
            }
            if self.ready().await.unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "kube-apiserver not ready within {START_PATIENCE:?}; end of its log:\n{}",
                    process.log()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn ready(&self) -> Result<bool> {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        let answer = self.client().await?.request_text(request).await?;
        Ok(answer == "ok")
    }
}

/// Ports that nobody listens on, all different because they are held until the last is chosen.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener =
            std::net::TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
