//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler, in the fabric or on the first node.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::kubeconfig;
use super::lab::{API_PORT, Lab};
use super::place::Place;
use super::shape::{PODS, SERVICES, Shape};
use super::wait;
use crate::run;
use crate::tools::go;

/// Starts it and returns when the API server is ready.
pub(crate) fn start(lab: &Lab, shape: Shape) -> Result<()> {
    let place = Place::control_plane(lab, shape);
    credentials(lab)?;
    etcd(lab, &place)?;
    apiserver(lab, shape, &place)?;
    let ca = lab.file("pki/apiserver.crt");
    wait::until("kube-apiserver's certificate", || Ok(ca.exists()))?;
    kubeconfig::write(lab, shape, &ca)?;
    wait::until("kube-apiserver", || {
        let ready = super::kubectl(lab)?
            .args(["get", "--raw=/readyz"])
            .output()?;
        Ok(ready.status.success())
    })
    .with_context(|| {
        format!(
            "end of its log:\n{}",
            run::tail(&place.log("kube-apiserver")).unwrap_or_default()
        )
    })?;
    controllers(lab, shape, &place)?;
    scheduler(lab, &place)
}

fn credentials(lab: &Lab) -> Result<()> {
    fs::create_dir_all(lab.file("pki"))?;
    Lab::write(
        &lab.file("tokens.csv"),
        &format!("{},admin,admin,system:masters\n", kubeconfig::TOKEN),
    )?;
    let key = lab.file("sa.key");
    run::output(
        Command::new("openssl")
            .args(["genrsa", "-out"])
            .arg(&key)
            .arg("2048"),
    )?;
    Ok(())
}

fn etcd(lab: &Lab, place: &Place) -> Result<()> {
    let args = [
        format!("--data-dir={}", lab.file("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        "--unsafe-no-fsync".to_owned(),
    ];
    place.daemon("etcd", &go::ETCD.ensure()?, &args, None)
}

fn apiserver(lab: &Lab, shape: Shape, place: &Place) -> Result<()> {
    let file = |name: &str| lab.file(name).display().to_string();
    let args = [
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--bind-address=::".to_owned(),
        format!("--advertise-address={}", shape.api_host()),
        format!("--secure-port={API_PORT}"),
        format!("--cert-dir={}", file("pki")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=Node,RBAC".to_owned(),
        format!(
            "--service-cluster-ip-range={}",
            shape.families.list(SERVICES)
        ),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", file("sa.key")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--allow-privileged=true".to_owned(),
        // exec and logs would otherwise try to resolve the nodes' names.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
    ];
    place.daemon("kube-apiserver", &go::APISERVER.ensure()?, &args, None)
}

fn controllers(lab: &Lab, shape: Shape, place: &Place) -> Result<()> {
    let file = |name: &str| lab.file(name).display().to_string();
    let args = [
        format!("--kubeconfig={}", lab.kubeconfig().display()),
        format!("--cluster-cidr={}", shape.families.list(PODS)),
        "--allocate-node-cidrs=true".to_owned(),
        format!(
            "--service-cluster-ip-range={}",
            shape.families.list(SERVICES)
        ),
        format!("--service-account-private-key-file={}", file("sa.key")),
        format!("--root-ca-file={}", file("pki/apiserver.crt")),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
    ];
    place.daemon(
        "kube-controller-manager",
        &go::CONTROLLERS.ensure()?,
        &args,
        None,
    )
}

fn scheduler(lab: &Lab, place: &Place) -> Result<()> {
    let args = [
        format!("--kubeconfig={}", lab.kubeconfig().display()),
        "--leader-elect=false".to_owned(),
    ];
    place.daemon("kube-scheduler", &go::SCHEDULER.ensure()?, &args, None)
}
