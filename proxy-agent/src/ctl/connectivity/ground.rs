//! The cluster that the tests run on: who has which address, and how one side is made to ask the other.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use k8s_openapi::api::core::v1::{Node, Pod, Service};

use super::{
    objects::{CONTAINER, HEADLESS, PORT, SERVICE_PORT},
    plan::{Case, From, Member, Role, To},
    run::Ground,
    topology::Family,
};
use crate::ctl::{
    CtlError, Exit,
    cluster::{Agent, Call, Cluster, PROGRAM},
    probe::Outcome,
};

/// Where kubelets listen, unless they say otherwise.
const KUBELET: u16 = 10250;

/// The cluster with all that was made.
pub(super) struct Real {
    pub(super) cluster: Cluster,
    pub(super) namespace: String,
    /// Of each node that takes part.
    pub(super) agents: Vec<Agent>,
    pub(super) nodes: Vec<Node>,
    pub(super) pods: BTreeMap<Member, Pod>,
    pub(super) services: Vec<Service>,
}

impl Real {
    /// Who is asked, as the one who asks is told.
    pub(super) fn target(&self, case: &Case) -> Result<String, CtlError> {
        let family = case.family;
        let at = |address: Option<IpAddr>, port: Option<u16>| {
            let at = address.zip(port);
            at.map(|(address, port)| SocketAddr::new(address, port).to_string())
        };
        let target = match case.to {
            To::Pod(pod) => at(self.of_pod(pod, family), Some(PORT)),
            To::Service(node) => at(self.of_service(node, family), Some(SERVICE_PORT)),
            To::NodePort(node) => at(self.of_node(node, family), self.node_port(node, case.udp)),
            To::Host(node) => at(self.of_node(node, family), self.kubelet(node)),
            To::Name(node) => Some(format!("{}:{SERVICE_PORT}", Member(Role::Server, node))),
            To::Headless => Some(format!("{HEADLESS}:{PORT}")),
        };
        target.ok_or_else(|| {
            CtlError::new(
                Exit::Failed,
                format!("{:?} has no address or port of {family}", case.to),
                "does the cluster give it one? kubectl get pods,services,nodes -o wide says",
            )
        })
    }

    /// Who asks, as others see it.
    pub(super) fn source(&self, case: &Case) -> Option<IpAddr> {
        match case.from {
            From::Pod(pod) => self.of_pod(pod, case.family),
            From::Host(node) => self.of_node(node, case.family),
        }
    }

    fn of_pod(&self, pod: Member, family: Family) -> Option<IpAddr> {
        let status = self.pods.get(&pod)?.status.as_ref()?;
        let ips = status.pod_ips.iter().flatten();
        family.first(ips.map(|ip| ip.ip.as_str()))
    }

    fn of_service(&self, node: usize, family: Family) -> Option<IpAddr> {
        let spec = self.services.get(node)?.spec.as_ref()?;
        let ips = spec.cluster_ips.iter().flatten();
        family.first(ips.map(String::as_str))
    }

    fn of_node(&self, node: usize, family: Family) -> Option<IpAddr> {
        let status = self.nodes.get(node)?.status.as_ref()?;
        let addresses = status.addresses.iter().flatten();
        let internal = addresses.filter(|address| address.type_ == "InternalIP");
        family.first(internal.map(|address| address.address.as_str()))
    }

    fn node_port(&self, node: usize, udp: bool) -> Option<u16> {
        let protocol = if udp { "UDP" } else { "TCP" };
        let spec = self.services.get(node)?.spec.as_ref()?;
        let mut ports = spec.ports.iter().flatten();
        let port = ports.find(|port| port.protocol.as_deref() == Some(protocol))?;
        port.node_port?.try_into().ok()
    }

    fn kubelet(&self, node: usize) -> Option<u16> {
        let status = self.nodes.get(node)?.status.as_ref()?;
        let endpoints = status.daemon_endpoints.as_ref();
        let kubelet = endpoints.and_then(|all| all.kubelet_endpoint.as_ref());
        kubelet.map_or(Some(KUBELET), |one| one.port.try_into().ok())
    }

    /// The program that asks, where it runs.
    fn call(&self, case: &Case) -> Result<Call, CtlError> {
        let any: IpAddr = match case.family {
            Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let target = self.target(case)?;
        let mut words = vec!["probe".to_owned(), "ask".to_owned(), target];
        words.push(format!("--family={any}"));
        if case.udp {
            words.push("--udp".to_owned());
        }
        let pod = match case.from {
            // The agent is on its node's own network.
            From::Host(node) => return Ok(self.agents[node].call(&words, false)),
            From::Pod(pod) => pod.to_string(),
        };
        words.insert(0, PROGRAM.to_owned());
        Ok(Call {
            namespace: self.namespace.clone(),
            pod,
            container: CONTAINER,
            words,
            stdin: false,
        })
    }
}

impl Ground for Real {
    async fn ask(&self, case: &Case) -> Result<Outcome, CtlError> {
        let (mut out, mut told) = (Vec::new(), Vec::new());
        let call = self.call(case)?;
        self.cluster.exec(&call, &mut out, &mut told).await?;
        serde_json::from_slice(&out).map_err(|error| {
            let told = String::from_utf8_lossy(&told);
            let said = told.lines().next().unwrap_or_default();
            CtlError::new(
                Exit::Failed,
                format!(
                    "ask from pod {}/{}: {error}: {said}",
                    call.namespace, call.pod
                ),
                "is the image of another version?",
            )
        })
    }

    fn own_address(&self, case: &Case) -> Option<IpAddr> {
        self.source(case)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Case, Family, From, KUBELET, Member, Real, Role, To};
    use crate::ctl::{
        cluster::{Agent, Cluster},
        connectivity::plan::Wanted,
    };

    fn real() -> Real {
        let read = |value| serde_json::from_value(value).unwrap();
        let pod = json!({ "status": { "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }] } });
        let pods = [Member(Role::Client, 0), Member(Role::Server, 0)];
        Real {
            cluster: Cluster::nowhere(),
            namespace: "ns".to_owned(),
            agents: vec![Agent {
                pod: "weir-a".to_owned(),
                namespace: "kube-system".to_owned(),
                ..Agent::default()
            }],
            nodes: vec![read(json!({ "status": { "addresses": [
                { "type": "Hostname", "address": "a" },
                { "type": "ExternalIP", "address": "198.51.100.1" },
                { "type": "InternalIP", "address": "192.0.2.1" },
            ] } }))],
            pods: pods
                .map(|member| (member, serde_json::from_value(pod.clone()).unwrap()))
                .into(),
            services: vec![
                serde_json::from_value(json!({ "spec": {
                    "clusterIPs": ["10.96.0.1", "fd00:96::1"],
                    "ports": [
                        { "port": 80, "protocol": "TCP", "nodePort": 30001 },
                        { "port": 80, "protocol": "UDP", "nodePort": 30002 },
                    ],
                } }))
                .unwrap(),
            ],
        }
    }

    fn case(from: From, to: To, family: Family, udp: bool) -> Case {
        Case {
            name: String::new(),
            from,
            to,
            family,
            udp,
            wanted: Wanted::Silence,
        }
    }

    #[tokio::test]
    async fn each_side_is_found() {
        let real = real();
        let client = From::Pod(Member(Role::Client, 0));
        let of = |to, family, udp| real.target(&case(client, to, family, udp));
        let server = To::Pod(Member(Role::Server, 0));
        for (to, family, udp, wanted) in [
            (server, Family::Ipv4, false, "10.0.0.1:8080"),
            (server, Family::Ipv6, false, "[fd00::1]:8080"),
            (To::Service(0), Family::Ipv6, true, "[fd00:96::1]:80"),
            (To::NodePort(0), Family::Ipv4, false, "192.0.2.1:30001"),
            (To::NodePort(0), Family::Ipv4, true, "192.0.2.1:30002"),
            (To::Host(0), Family::Ipv4, false, "192.0.2.1:10250"),
            (To::Name(0), Family::Ipv6, false, "server-0:80"),
            (To::Headless, Family::Ipv6, false, "servers:8080"),
        ] {
            assert_eq!(of(to, family, udp).unwrap(), wanted);
        }
        assert_eq!(KUBELET, 10250);
        let none = of(To::NodePort(0), Family::Ipv6, false).unwrap_err();
        assert!(none.message.contains("of ipv6"), "{}", none.message);
    }

    #[tokio::test]
    async fn who_asks_is_run_where_it_is() {
        let real = real();
        let to = To::Service(0);
        let pod = case(From::Pod(Member(Role::Client, 0)), to, Family::Ipv4, true);
        let call = real.call(&pod).unwrap();
        assert_eq!(
            (call.namespace.as_str(), call.pod.as_str()),
            ("ns", "client-0")
        );
        assert_eq!(
            call.words.join(" "),
            "/usr/bin/proxyctl probe ask 10.96.0.1:80 --family=0.0.0.0 --udp"
        );
        let host = case(From::Host(0), to, Family::Ipv6, false);
        let call = real.call(&host).unwrap();
        assert_eq!(
            (call.namespace.as_str(), call.pod.as_str()),
            ("kube-system", "weir-a")
        );
        assert_eq!(
            call.words.join(" "),
            "/usr/bin/proxyctl probe ask [fd00:96::1]:80 --family=::"
        );
    }
}
