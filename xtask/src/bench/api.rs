//! A real API server in a world's fabric, for the proxy that cannot do without.
//!
//! Objects are created through `kubectl proxy`: plain HTTP, and none of kubectl's own limits.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use weir_world::{
    Place, Process, World,
    kubernetes::{ControlPlane, Trust, kubeconfig},
    until,
};

use crate::tools::go;

mod fill;

/// Where `kubectl proxy` listens in the fabric.
const PROXY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8001);
/// Where the API server listens, for nodes.
const SERVER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(172, 30, 0, 1)),
    6443,
);
const TOKEN: &str = "bench";
/// The least priority: in a cluster the API server is on another machine, and takes no time from what is measured.
const LEAST: &str = "19";
/// Objects created at a time.
const WRITERS: usize = 8;

/// etcd, kube-apiserver and `kubectl proxy`.
pub(crate) struct Api {
    fabric: Place,
    folder: TempDir,
    /// Held for their ends.
    processes: Vec<Process>,
}

impl Api {
    /// Starts it in the fabric of `world`, where nodes find it at 172.30.0.1:6443.
    pub(crate) fn start(world: &World) -> Result<Self> {
        let mut api = Self {
            fabric: world.outside().clone(),
            folder: TempDir::with_prefix("weir-bench-api-")?,
            processes: Vec::new(),
        };
        let plane = ControlPlane {
            folder: api.folder.path().to_owned(),
            etcd: ControlPlane::ETCD,
            bind: SERVER,
            advertise: None,
            services: "10.96.0.0/16".to_owned(),
        };
        plane.write_credentials(&[&format!("{TOKEN},admin,admin,system:masters")])?;
        let config = kubeconfig(&format!("https://{SERVER}"), Trust::Any, TOKEN);
        fs::write(api.kubeconfig(), config)?;
        let etcd = api.daemon(&go::ETCD.ensure()?, &plane.etcd_flags())?;
        let more = [
            "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=ServiceAccount",
        ];
        let server = api.daemon(&go::APISERVER.ensure()?, &plane.apiserver_flags(&more))?;
        let proxy = api.daemon(&go::KUBECTL.ensure()?, &api.proxy_flags())?;
        // Dropped in this order: clients before servers.
        api.processes = vec![proxy, server, etcd];
        until("kube-apiserver", Duration::from_mins(2), || {
            let ready = api.request("GET", "/readyz", "");
            Ok(ready.is_ok_and(|answer| answer.0 == 200).then_some(()))
        })?;
        Ok(api)
    }

    /// For a client on any node.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Creates objects as a client does, several at a time; many are there sooner by [`Self::fill`].
    pub(crate) fn create(&self, objects: &[Value]) -> Result<()> {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|_| scope.spawn(|| self.create_from(objects, &next)))
                .collect();
            for writer in writers {
                writer
                    .join()
                    .map_err(|_panic| anyhow!("a writer panicked"))??;
            }
            Ok(())
        })
    }

    /// Puts an object in the place of the one of the same name.
    pub(crate) fn replace(&self, object: &Value) -> Result<()> {
        self.write("PUT", &path(object)?, object, 200).map(drop)
    }

    /// Merges the fields of `change` into the object that it names; gives what the object is then.
    pub(crate) fn merge(&self, change: &Value) -> Result<Value> {
        self.write("PATCH", &path(change)?, change, 200)
    }

    /// Merges the status of `object` into the one that it names.
    pub(crate) fn merge_status(&self, object: &Value) -> Result<()> {
        let path = format!("{}/status", path(object)?);
        self.write("PATCH", &path, object, 200).map(drop)
    }

    fn create_from(&self, objects: &[Value], next: &AtomicUsize) -> Result<()> {
        while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
            self.write("POST", &collection(object)?, object, 201)?;
            // A Pod's status is not taken with it.
            if object["kind"] == "Pod" {
                self.merge_status(object)?;
            }
        }
        Ok(())
    }

    fn write(&self, method: &str, path: &str, object: &Value, expected: u16) -> Result<Value> {
        let (status, body) = self.request(method, path, &object.to_string())?;
        ensure!(status == expected, "{method} {object}: {status} {body}");
        serde_json::from_str(&body).with_context(|| format!("read the answer {body}"))
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        self.request_of(PROXY, method, path, body)
    }

    /// Asks a server in the fabric: status and body of its answer.
    fn request_of(
        &self,
        server: SocketAddr,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(u16, String)> {
        let mut stream = self.fabric.connect(server)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let content = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\n\
             Content-Type: {content}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut rest = String::new();
        reader.read_to_string(&mut rest)?;
        let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let status = status.with_context(|| format!("answer {line:?}"))?;
        Ok((status, body.to_owned()))
    }

    fn daemon(&self, program: &Path, flags: &[String]) -> Result<Process> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let log = File::create(self.folder.path().join(format!("{name}.log")))?;
        let mut command = self.fabric.command("nice")?;
        command
            .args(["-n", LEAST])
            .arg(program)
            .args(flags)
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Process::start(command)
    }

    fn proxy_flags(&self) -> Vec<String> {
        vec![
            "proxy".to_owned(),
            format!("--kubeconfig={}", self.kubeconfig().display()),
            format!("--port={}", PROXY.port()),
        ]
    }
}

/// The path of an object itself.
fn path(object: &Value) -> Result<String> {
    let name = object["metadata"]["name"].as_str();
    let name = name.context("object without name")?;
    Ok(format!("{}/{name}", collection(object)?))
}

/// The path that an object is created at.
fn collection(object: &Value) -> Result<String> {
    let kind = object["kind"].as_str().context("object without kind")?;
    Ok(match kind {
        "Service" => "/api/v1/namespaces/default/services".to_owned(),
        "EndpointSlice" => "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices".to_owned(),
        "Node" => "/api/v1/nodes".to_owned(),
        "Pod" => "/api/v1/namespaces/default/pods".to_owned(),
        "NetworkPolicy" => {
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies".to_owned()
        }
        _ => bail!("no path for kind {kind}"),
    })
}
