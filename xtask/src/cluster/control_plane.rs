//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler, in the fabric or on the first node.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};
use weir_world::kubernetes::ControlPlane;

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
    let plane = ControlPlane {
        folder: lab.folder.clone(),
        etcd: ControlPlane::ETCD,
        bind: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), API_PORT),
        advertise: Some(
            shape
                .api_host()
                .parse()
                .context("the API server's address")?,
        ),
        services: shape.families.list(SERVICES),
    };
    fs::create_dir_all(lab.file("pki"))?;
    plane.write_credentials(&[&format!("{},admin,admin,system:masters", kubeconfig::TOKEN)])?;
    place.daemon("etcd", &go::ETCD.ensure()?, &plane.etcd_flags(), None)?;
    // exec and logs would otherwise try to resolve the nodes' names.
    let more = ["--kubelet-preferred-address-types=InternalIP"];
    let flags = plane.apiserver_flags(&more);
    place.daemon("kube-apiserver", &go::APISERVER.ensure()?, &flags, None)?;
    let ca = plane.certificate();
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
    let pods = shape.families.list(PODS);
    let flags = plane.controllers_flags(&lab.kubeconfig(), &pods, &[]);
    let controllers = go::CONTROLLERS.ensure()?;
    place.daemon("kube-controller-manager", &controllers, &flags, None)?;
    let flags = ControlPlane::scheduler_flags(&lab.kubeconfig());
    place.daemon("kube-scheduler", &go::SCHEDULER.ensure()?, &flags, None)
}
