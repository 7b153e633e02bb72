//! How Kubernetes' own programs are started: flags and files, once for tests, benches, demo and lab. Whoever starts them says where they
//! run, and adds what only he needs.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// A control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// Where its files are: data, certificates, keys and tokens.
    pub folder: PathBuf,
    /// Ports of etcd on the loopback address: for clients, and for other members, of which there are none.
    pub etcd: [u16; 2],
    /// Where the API server listens.
    pub bind: SocketAddr,
    /// The address that it gives to others, if it is not the one at which it listens.
    pub advertise: Option<IpAddr>,
    /// `ServiceCIDRs`, separated by commas.
    pub services: String,
}

impl ControlPlane {
    /// etcd's port for clients, and for other members.
    pub const ETCD: [u16; 2] = [2379, 2380];

    /// The API server's certificate, which it makes itself, and which is its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("pki/apiserver.crt")
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn etcd_url(&self) -> String {
        format!("http://{}", self.etcd_address())
    }

    /// Where etcd listens for clients.
    pub fn etcd_address(&self) -> String {
        format!("127.0.0.1:{}", self.etcd[0])
    }

    /// Writes the key of service accounts, and who has which token: lines `token,user,uid,group`.
    pub fn write_credentials(&self, tokens: &[&str]) -> Result<()> {
        let path = self.folder.join("tokens.csv");
        fs::write(&path, tokens.join("\n") + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut openssl = Command::new("openssl");
        openssl.args(["genrsa", "-out", &self.file("sa.key"), "2048"]);
        let made = openssl
            .output()
            .context("cannot start openssl\nhint: install package openssl")?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            bail!("openssl genrsa failed: {said}");
        }
        Ok(())
    }

    /// Flags of etcd. What a crash of the machine would lose is no loss.
    pub fn etcd_flags(&self) -> Vec<String> {
        let url = self.etcd_url();
        vec![
            format!("--data-dir={}", self.file("etcd")),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls=http://127.0.0.1:{}", self.etcd[1]),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    /// Flags of kube-apiserver.
    pub fn apiserver_flags(&self, more: &[&str]) -> Vec<String> {
        let mut flags = vec![
            format!("--etcd-servers={}", self.etcd_url()),
            format!("--bind-address={}", self.bind.ip()),
            format!("--secure-port={}", self.bind.port()),
            format!("--cert-dir={}", self.file("pki")),
            format!("--token-auth-file={}", self.file("tokens.csv")),
            format!("--service-cluster-ip-range={}", self.services),
            format!("--service-account-key-file={}", self.file("sa.key")),
            format!("--service-account-signing-key-file={}", self.file("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        let advertise = self.advertise.iter();
        flags.extend(advertise.map(|address| format!("--advertise-address={address}")));
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        flags
    }

    /// Flags of kube-controller-manager, which gives nodes ranges out of `pods`.
    pub fn controllers_flags(&self, kubeconfig: &Path, pods: &str, more: &[&str]) -> Vec<String> {
        let mut flags = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cluster-cidr={pods}"),
            "--allocate-node-cidrs=true".to_owned(),
            format!("--service-cluster-ip-range={}", self.services),
            format!("--service-account-private-key-file={}", self.file("sa.key")),
            format!("--root-ca-file={}", self.certificate().display()),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
        ];
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        flags
    }

    /// Flags of kube-scheduler.
    pub fn scheduler_flags(kubeconfig: &Path) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
        ]
    }
}

/// Which server a client believes.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Any.
    Any,
    /// One with this certificate, by the address that is called.
    At(&'a Path),
    /// One with this certificate, at whatever address: it names addresses of its own choice, and one name.
    Anywhere(&'a Path),
}

/// A kubeconfig of one user (JSON is YAML).
pub fn kubeconfig(server: &str, trust: Trust<'_>, token: &str) -> String {
    let mut cluster = json!({ "server": server });
    match trust {
        Trust::Any => cluster["insecure-skip-tls-verify"] = true.into(),
        Trust::At(path) => cluster["certificate-authority"] = json!(path),
        Trust::Anywhere(path) => {
            cluster["certificate-authority"] = json!(path);
            cluster["tls-server-name"] = "kubernetes.default.svc".into();
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "weir",
        "clusters": [{ "name": "weir", "cluster": cluster }],
        "users": [{ "name": "user", "user": { "token": token } }],
        "contexts": [{ "name": "weir", "context": { "cluster": "weir", "user": "user" } }],
    })
    .to_string()
}

/// kube-proxy's configuration on a node: nftables mode.
pub fn kube_proxy(node: &str, pods: &str, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node,
        "clusterCIDR": pods,
        "clientConnection": { "kubeconfig": kubeconfig },
        // The table's size belongs to the machine, not to a namespace.
        "conntrack": { "maxPerCore": 0, "min": 0 },
    })
}
