//! Random policies. See [`super::objects`].

use serde_json::{Value, json};

use super::{dice::Dice, objects::PROTOCOLS};

const BLOCKS: [&str; 9] = [
    "0.0.0.0/0",
    "10.244.0.0/16",
    "10.244.2.0/24",
    "10.244.2.10/32",
    "192.0.2.0/24",
    "172.30.0.0/24",
    "::/0",
    "fd00:244::/32",
    "fd00:244:2::a/128",
];

pub(crate) fn policy(dice: &mut Dice) -> Value {
    let mut spec = json!({ "podSelector": selector(dice, &["app", "tier"]) });
    match dice.below(5) {
        0 => {}
        1 => spec["policyTypes"] = json!(["Ingress"]),
        2 => spec["policyTypes"] = json!(["Egress"]),
        _ => spec["policyTypes"] = json!(["Ingress", "Egress"]),
    }
    for (field, peers) in [("ingress", "from"), ("egress", "to")] {
        if dice.chance(70) {
            let rules = (0..dice.below(3)).map(|_| rule(dice, peers));
            spec[field] = rules.collect();
        }
    }
    json!({ "metadata": {}, "spec": spec })
}

fn rule(dice: &mut Dice, field: &str) -> Value {
    let mut rule = json!({});
    if dice.chance(80) {
        let peers = (0..dice.below(3)).map(|_| peer(dice));
        rule[field] = peers.collect();
    }
    if dice.chance(60) {
        let ports = (0..dice.below(3)).map(|_| policy_port(dice));
        rule["ports"] = ports.collect();
    }
    rule
}

fn peer(dice: &mut Dice) -> Value {
    if dice.chance(40) {
        let cidr = dice.of(&BLOCKS);
        let except = dice.some(&BLOCKS, 2);
        return json!({ "ipBlock": { "cidr": cidr, "except": except } });
    }
    let mut peer = json!({});
    let which = dice.below(3);
    if which != 0 {
        peer["podSelector"] = selector(dice, &["app", "tier"]);
    }
    if which != 1 {
        peer["namespaceSelector"] = selector(dice, &["team", "app", "kubernetes.io/metadata.name"]);
    }
    peer
}

fn policy_port(dice: &mut Dice) -> Value {
    let mut port = json!({ "protocol": dice.of(&PROTOCOLS) });
    match dice.below(5) {
        0 => {}
        1 => port["port"] = json!(dice.of(&["web", "dns", "x", "side"])),
        2 => {
            port["port"] = json!(dice.of(&[1, 53, 80]));
            port["endPort"] = json!(dice.of(&[80, 8080, 65535]));
        }
        _ => port["port"] = json!(dice.of(&[53, 80, 443, 8080])),
    }
    port
}

fn selector(dice: &mut Dice, keys: &[&str]) -> Value {
    match dice.below(6) {
        0 => json!({}),
        1 | 2 => json!({ "matchLabels": { dice.of(keys): value(dice) } }),
        _ => {
            let operator = dice.of(&["In", "NotIn", "Exists", "DoesNotExist"]);
            let mut expression = json!({ "key": dice.of(keys), "operator": operator });
            if operator.ends_with("In") {
                expression["values"] = json!([value(dice), value(dice)]);
            }
            json!({ "matchExpressions": [expression] })
        }
    }
}

fn value(dice: &mut Dice) -> &'static str {
    dice.of(&["a", "b", "x", "red", "n1", ""])
}
