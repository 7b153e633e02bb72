//! What happens next.

use serde_json::{Value, json};

use super::{
    api::{Id, Kind, Write},
    dice::Dice,
    model::{HERE, Model, text},
    objects::{self, NAMESPACES, OTHER_NODES, SERVICES},
    policy_objects,
};

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Step {
    /// Objects are written.
    Write(Vec<Write>),
    /// A pod of the node begins.
    Begin(String, Option<(u16, u16)>),
    /// One ends.
    End(String),
    /// The agent is killed; these are written before it is started again.
    Kill(Vec<Write>),
}

const PODS_HERE: [&str; 4] = ["w0", "w1", "w2", "w3"];
const PODS: [&str; 8] = ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"];
const SLICES: [&str; 10] = ["e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9"];
const POLICIES: [&str; 3] = ["p0", "p1", "p2"];

/// The next step.
pub(crate) fn next(dice: &mut Dice, model: &Model) -> Step {
    match dice.below(100) {
        0..4 => {
            let pod = dice.of(&PODS_HERE).to_owned();
            if model.wired.contains_key(&pod) {
                Step::End(pod)
            } else {
                let number: u16 = pod[1..].parse().unwrap_or(0);
                // Those of NodePorts too.
                let outer = dice.of(&[8000 + number, 30000 + number]);
                let ports = dice.chance(40).then_some((outer, 8080));
                Step::Begin(pod, ports)
            }
        }
        4..6 => Step::Kill(writes(dice, model, 6)),
        _ => Step::Write(writes(dice, model, 3)),
    }
}

fn writes(dice: &mut Dice, model: &Model, most: usize) -> Vec<Write> {
    let count = dice.below(most) + 1;
    (0..count).flat_map(|_| write(dice, model)).collect()
}

/// One thing; some take several writes.
fn write(dice: &mut Dice, model: &Model) -> Vec<Write> {
    match dice.below(20) {
        0..6 => service(dice, model),
        6..12 => slice(dice, model),
        12..15 => pod(dice, model),
        15..18 => policy(dice, model),
        18 => namespace(dice, model),
        _ => node(dice, model),
    }
}

fn service(dice: &mut Dice, model: &Model) -> Vec<Write> {
    let namespace = dice.of(&NAMESPACES[..2]);
    let id = Id::new(Kind::Service, namespace, dice.of(&SERVICES));
    let Some(now) = model.objects.get(&id) else {
        return created(dice, id);
    };
    match dice.below(12) {
        0 | 1 => vec![Write::Delete(id, 0)],
        // The same, from the beginning: its addresses may be another's now.
        2 => [vec![Write::Delete(id.clone(), 0)], created(dice, id)].concat(),
        3 => swap(dice, model, &id, now),
        4 | 5 if text(now, "/spec/type") == "LoadBalancer" => {
            let mut object = now.clone();
            object["status"] = objects::balancer(dice);
            vec![Write::Status(id, object)]
        }
        _ => vec![Write::Replace(id, changed(dice, now))],
    }
}

/// A new one, of which a load balancer may know already.
fn created(dice: &mut Dice, id: Id) -> Vec<Write> {
    let object = objects::service(dice);
    let mut writes = vec![Write::Create(id.clone(), object.clone())];
    if object["spec"]["type"] == "LoadBalancer" && dice.chance(60) {
        let mut known = object;
        known["status"] = objects::balancer(dice);
        writes.push(Write::Status(id, known));
    }
    writes
}

/// Two Services exchange their addresses.
fn swap(dice: &mut Dice, model: &Model, id: &Id, now: &Value) -> Vec<Write> {
    let others: Vec<_> = model
        .all(Kind::Service)
        .filter(|(other, _)| *other != id && other.name != "kubernetes")
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    let (other, object) = others[dice.below(others.len())];
    let with = |mut object: Value, of: &Value| {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            object["spec"][field] = of["spec"][field].clone();
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| field == "labels");
        }
        object
    };
    vec![
        Write::Delete(id.clone(), 0),
        Write::Delete(other.clone(), 0),
        Write::Create(id.clone(), with(now.clone(), object)),
        Write::Create(other.clone(), with(object.clone(), now)),
    ]
}

/// One thing about a Service is another.
fn changed(dice: &mut Dice, now: &Value) -> Value {
    let new = objects::service(dice);
    let mut object = now.clone();
    let spec = &mut object["spec"];
    match dice.below(11) {
        0 | 1 => {
            spec["ports"] = objects::service_ports(dice);
            if spec["type"] != "ClusterIP" {
                objects::node_ports(dice, spec);
            }
        }
        2 => objects::affinity(dice, spec),
        3 => {
            let local = spec["internalTrafficPolicy"] == "Local";
            spec["internalTrafficPolicy"] = json!(if local { "Cluster" } else { "Local" });
        }
        4 => {
            let local = spec["externalTrafficPolicy"] == "Local";
            spec["externalTrafficPolicy"] = json!(if local { "Cluster" } else { "Local" });
        }
        5 => spec["externalIPs"] = new["spec"]["externalIPs"].clone(),
        6 => object["metadata"]["labels"] = objects::service_labels(dice),
        7 => spec["ports"][0]["port"] = json!(dice.of(&[80, 443, 53, 81])),
        8 => families(spec, &new),
        9 if spec["type"] == "LoadBalancer" => {
            spec["loadBalancerSourceRanges"] = objects::source_ranges(dice);
        }
        _ => kind(dice, spec, &new),
    }
    object
}

/// One family more or less.
fn families(spec: &mut Value, new: &Value) {
    let policy = if spec["ipFamilyPolicy"] == "SingleStack" {
        "RequireDualStack"
    } else {
        "SingleStack"
    };
    if policy == "SingleStack" {
        for field in ["clusterIPs", "ipFamilies"] {
            let first = spec[field][0].clone();
            spec[field] = json!([first]);
        }
    } else {
        let other = |ip: &&Value| {
            let v6 = |ip: &Value| ip.as_str().is_some_and(|ip| ip.contains(':'));
            v6(ip) != v6(&spec["clusterIP"])
        };
        let more = new["spec"]["clusterIPs"]
            .as_array()
            .into_iter()
            .flatten()
            .find(other);
        let more = more.cloned();
        if let Some(more) = more {
            let family = if more.as_str().is_some_and(|ip| ip.contains(':')) {
                "IPv6"
            } else {
                "IPv4"
            };
            spec["clusterIPs"] = json!([spec["clusterIP"], more]);
            spec["ipFamilies"] = json!([spec["ipFamilies"][0], family]);
        }
    }
    spec["ipFamilyPolicy"] = json!(policy);
}

fn kind(dice: &mut Dice, spec: &mut Value, new: &Value) {
    let before = spec["type"].clone();
    let now = dice.of(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]);
    spec["type"] = json!(now);
    match now {
        "ExternalName" => {
            spec["externalName"] = json!("elsewhere.example");
            for field in [
                "clusterIP",
                "clusterIPs",
                "ipFamilies",
                "ipFamilyPolicy",
                "internalTrafficPolicy",
            ] {
                spec[field] = Value::Null;
            }
        }
        _ if before == "ExternalName" => {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec[field] = new["spec"][field].clone();
            }
            spec["externalName"] = Value::Null;
        }
        _ => {}
    }
    if now != "LoadBalancer" {
        spec["loadBalancerSourceRanges"] = Value::Null;
    }
    for field in [
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "allocateLoadBalancerNodePorts",
    ] {
        if ["ClusterIP", "ExternalName"].contains(&now) {
            spec[field] = Value::Null;
        }
    }
    if ["ClusterIP", "ExternalName"].contains(&now) {
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            port["nodePort"] = Value::Null;
        }
    } else {
        objects::node_ports(dice, spec);
    }
}

fn slice(dice: &mut Dice, model: &Model) -> Vec<Write> {
    let namespace = dice.of(&NAMESPACES[..2]);
    let id = Id::new(Kind::Slice, namespace, dice.of(&SLICES));
    let near: Vec<[String; 2]> = model
        .wired
        .values()
        .map(|wired| wired.addresses.map(|ip| ip.to_string()))
        .collect();
    let new = objects::slice(dice, &near);
    let Some(now) = model.objects.get(&id) else {
        return vec![Write::Create(id, new)];
    };
    match dice.below(6) {
        0 => vec![Write::Delete(id, 0)],
        1 => vec![Write::Delete(id.clone(), 0), Write::Create(id, new)],
        // The same endpoints for another Service, or other ports for them.
        2 => {
            let mut object = now.clone();
            object["metadata"]["labels"] = new["metadata"]["labels"].clone();
            vec![Write::Replace(id, object)]
        }
        3 => {
            let mut object = now.clone();
            object["ports"] = new["ports"].clone();
            vec![Write::Replace(id, object)]
        }
        _ => {
            let mut object = now.clone();
            if now["addressType"] == new["addressType"] {
                object["endpoints"] = new["endpoints"].clone();
            } else if let Some(endpoints) = object["endpoints"].as_array_mut() {
                endpoints.pop();
            }
            vec![Write::Replace(id, object)]
        }
    }
}

fn pod(dice: &mut Dice, model: &Model) -> Vec<Write> {
    if dice.chance(40) {
        return relabelled(dice, model);
    }
    let id = Id::new(Kind::Pod, dice.of(&NAMESPACES), dice.of(&PODS));
    let Some(now) = model.objects.get(&id) else {
        let node = dice.of(&["b", "c", "d", HERE, ""]);
        let object = objects::pod(dice, node);
        let mut known = object.clone();
        known["status"] = objects::pod_status(dice);
        return vec![Write::Create(id.clone(), object), Write::Status(id, known)];
    };
    match dice.below(5) {
        0 => vec![Write::Delete(id, 0)],
        1 => vec![Write::Delete(id, 30)],
        2 => {
            let mut object = now.clone();
            object["metadata"]["labels"] = objects::pod_labels(dice);
            vec![Write::Replace(id, object)]
        }
        _ => {
            let mut object = now.clone();
            object["status"] = objects::pod_status(dice);
            vec![Write::Status(id, object)]
        }
    }
}

/// A pod of the node has other labels.
fn relabelled(dice: &mut Dice, model: &Model) -> Vec<Write> {
    let id = Id::new(Kind::Pod, "default", dice.of(&PODS_HERE));
    let Some(now) = model.objects.get(&id) else {
        return Vec::new();
    };
    let mut object = now.clone();
    object["metadata"]["labels"] = objects::pod_labels(dice);
    vec![Write::Replace(id, object)]
}

fn policy(dice: &mut Dice, model: &Model) -> Vec<Write> {
    let id = Id::new(
        Kind::Policy,
        dice.of(&["default", "default", "n1"]),
        dice.of(&POLICIES),
    );
    let new = policy_objects::policy(dice);
    if !model.objects.contains_key(&id) {
        return vec![Write::Create(id, new)];
    }
    match dice.below(4) {
        0 => vec![Write::Delete(id, 0)],
        1 => vec![Write::Delete(id.clone(), 0), Write::Create(id, new)],
        _ => vec![Write::Replace(id, new)],
    }
}

fn namespace(dice: &mut Dice, model: &Model) -> Vec<Write> {
    let id = Id::new(Kind::Namespace, "", dice.of(&NAMESPACES));
    let Some(now) = model.objects.get(&id) else {
        return Vec::new();
    };
    let mut object = now.clone();
    object["metadata"]["labels"] = objects::namespace(dice)["metadata"]["labels"].clone();
    vec![Write::Replace(id, object)]
}

fn node(dice: &mut Dice, model: &Model) -> Vec<Write> {
    let name = if dice.chance(25) {
        HERE
    } else {
        dice.of(&OTHER_NODES)
    };
    node_named(dice, model, name)
}

/// A node comes, goes, comes back as another one, or moves.
pub(crate) fn node_named(dice: &mut Dice, model: &Model, name: &str) -> Vec<Write> {
    let id = Id::new(Kind::Node, "", name);
    let object = objects::node(dice, name);
    let mut known = object.clone();
    known["status"] = objects::node_status(dice, name);
    let begin = [
        Write::Create(id.clone(), object),
        Write::Status(id.clone(), known),
    ];
    let Some(now) = model.objects.get(&id) else {
        return begin.to_vec();
    };
    match dice.below(6) {
        0 => vec![Write::Delete(id, 0)],
        1 => [&[Write::Delete(id, 0)][..], &begin].concat(),
        2 | 3 => {
            let mut object = now.clone();
            object["metadata"]["labels"] = objects::node(dice, name)["metadata"]["labels"].clone();
            vec![Write::Replace(id, object)]
        }
        _ => {
            let mut object = now.clone();
            object["status"]["addresses"] = objects::node_status(dice, name)["addresses"].clone();
            vec![Write::Status(id, object)]
        }
    }
}
