//! Every subject of `dump` in every form.

use serde_json::{Value, json};
use weir_tests::world::ask_tcp;

use super::Stage;

/// A subject of `dump`, the kind of its list, and what every form must hold: with an agent, and without.
type Dumped = (&'static str, &'static str, [String; 2]);

fn subjects(stage: &Stage) -> [Dumped; 10] {
    let named = |name: &str| [name.to_owned(), "#".to_owned()];
    let same = |text: String| [text.clone(), text];
    let (frontend, backend) = (
        format!("{}:80", stage.vip),
        format!("{}:8080", stage.web.ipv4()),
    );
    [
        ("services", "ServiceList", same(format!("{frontend}/TCP"))),
        ("backends", "BackendList", same(backend)),
        ("conntrack", "ConntrackList", same(frontend)),
        ("affinity", "AffinityList", named("default/sticky:tcp")),
        ("maglev", "MaglevList", named("default/many:tcp")),
        ("endpoints", "EndpointList", named("default/web")),
        ("policy", "PolicyList", named("default/web")),
        ("inside", "InsideList", same("10.244.1.0/24".to_owned())),
        ("tunnels", "TunnelList", same("10.244.2.0/24".to_owned())),
        ("maps", "MapList", same("POLICY_CELLS".to_owned())),
    ]
}

fn every_form(stage: &Stage, (subject, kind, words): &Dumped, down: bool) {
    let word = words[usize::from(down)].as_str();
    let form = |form: &str| {
        let text = stage.says(0, &["dump", subject, "-o", form]);
        assert!(
            text.contains(word),
            "no {word} in {subject} as {form}: {text}"
        );
        text
    };
    let (table, wide) = (form("table"), form("wide"));
    let heads = |text: &str| -> Vec<String> {
        let first = text.lines().next().unwrap_or_default();
        first.split_whitespace().map(str::to_owned).collect()
    };
    assert!(
        heads(&wide).starts_with(&heads(&table)),
        "{subject}: {wide}"
    );
    let rows = form("name").lines().count();
    assert_eq!(table.lines().count(), rows + 1, "{subject}: {table}");
    let json: Value = serde_json::from_str(&form("json")).unwrap();
    let yaml: Value = serde_saphyr::from_str(&form("yaml")).unwrap();
    for list in [json, yaml] {
        assert_eq!(list["apiVersion"], "weir.dev/v1alpha1");
        assert_eq!(list["kind"], *kind);
        assert_eq!(
            list["items"].as_array().unwrap().len(),
            rows,
            "{subject}: {list}"
        );
    }
}

/// A Node that is not there, whose pods are reached by the tunnel.
fn reach_by_tunnel(stage: &Stage) {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": "far", "annotations": { "weir.dev/routing": "tunnel" } },
        "spec": { "podCIDRs": ["10.244.2.0/24"] },
        "status": { "addresses": [{ "type": "InternalIP", "address": "172.30.0.77" }] },
    });
    let manifests = stage.cluster.manifests();
    manifests.apply_objects("node-far.yaml", &[node]).unwrap();
    let listed = || {
        stage
            .says(0, &["dump", "tunnels"])
            .contains("10.244.2.0/24")
    };
    stage
        .cluster
        .eventually("the tunnel", || listed().then_some(()))
        .unwrap();
}

#[test]
fn every_subject_is_dumped_in_every_form_with_and_without_the_agent() {
    let mut stage = Stage::set("ctl-forms").unwrap();
    let sticky = json!({ "sessionAffinity": "ClientIP" });
    let [vip, _] = stage
        .cluster
        .service("sticky", 11, &[&stage.web], &sticky)
        .unwrap();
    stage
        .cluster
        .eventually("the sticky Service to answer", || {
            ask_tcp(&stage.client, (vip, 80).into()).ok()
        })
        .unwrap();
    reach_by_tunnel(&stage);
    let many = [&stage.web, &stage.client];
    let from_outside = json!({ "type": "NodePort", "ports": [
        { "name": "tcp", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 30080 },
    ] });
    stage
        .cluster
        .service("many", 12, &many, &from_outside)
        .unwrap();
    let listed = || stage.says(0, &["dump", "maglev"]).contains("default/many");
    stage
        .cluster
        .eventually("the table", || listed().then_some(()))
        .unwrap();
    for down in [false, true] {
        for dumped in &subjects(&stage) {
            every_form(&stage, dumped, down);
        }
        if !down {
            stage.cluster.agent_mut(0).crash().unwrap();
        }
    }
}
