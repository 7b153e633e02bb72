//! Tables of the elder kind, which only `iptables-legacy` shows.

use std::fs;

use ipnetwork::IpNetwork;

use super::{Dropping, Found, Lets};
use crate::ctl::tool::Call;

/// By family: the tool, what a host without variants calls it, and where the kernel names such tables.
const FAMILIES: [(&str, &str, &str); 2] = [
    ("iptables-legacy", "iptables", "/proc/net/ip_tables_names"),
    (
        "ip6tables-legacy",
        "ip6tables",
        "/proc/net/ip6_tables_names",
    ),
];

pub(super) fn look(ranges: &[IpNetwork], found: &mut Found) {
    for (at, (tool, plain, names)) in FAMILIES.into_iter().enumerate() {
        let has_filter =
            fs::read_to_string(names).is_ok_and(|all| all.lines().any(|name| name == "filter"));
        if !has_filter {
            continue;
        }
        let ranges = ranges.iter().filter(|range| range.is_ipv4() == (at == 0));
        match saved(tool)
            .and_then(|rules| rules.map_or_else(|| saved(plain), |rules| Ok(Some(rules))))
        {
            Ok(Some(rules)) => found
                .dropping
                .extend(ranges.filter_map(|range| dropping(tool, &rules, range))),
            Ok(None) => found.lacking.push(tool),
            Err(why) => found.failed.push(why),
        }
    }
}

fn saved(tool: &str) -> Result<Option<String>, String> {
    let call = Call::new(&[&format!("{tool}-save"), "-t", "filter"]);
    call.output().map_err(|error| error.message)
}

fn dropping(tool: &str, rules: &str, range: &IpNetwork) -> Option<Dropping> {
    let drops = rules.lines().any(|line| line.starts_with(":FORWARD DROP "));
    let let_pass = rules.lines().map(|line| lets(line, range));
    if !drops || let_pass.fold(Lets::default(), Lets::and) == Lets::ALL {
        return None;
    }
    Some(Dropping {
        chain: format!("chain FORWARD of {tool}"),
        range: *range,
        remedy: format!(
            "{tool} -I FORWARD -s {range} -j ACCEPT; {tool} -I FORWARD -d {range} -j ACCEPT"
        ),
    })
}

/// What a rule accepts of a range: those of FORWARD, and of the chain that Docker leaves to others.
fn lets(line: &str, range: &IpNetwork) -> Lets {
    let words: Vec<&str> = line.split_whitespace().collect();
    let holds = |net: &str| {
        let net = net.parse::<IpNetwork>();
        net.is_ok_and(|net| net.prefix() <= range.prefix() && net.contains(range.network()))
    };
    match words[..] {
        ["-A", "FORWARD", "-j", "ACCEPT"] => Lets::ALL,
        [
            "-A",
            "FORWARD",
            "-m",
            "conntrack",
            "--ctstate",
            states,
            "-j",
            "ACCEPT",
        ] if states.contains("ESTABLISHED") => Lets {
            out: false,
            back: true,
        },
        ["-A", "FORWARD" | "DOCKER-USER", side, net, "-j", "ACCEPT"] if holds(net) => Lets {
            out: side == "-s",
            back: side == "-d",
        },
        _ => Lets::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_drops_is_told_until_pods_pass() {
        let range = "10.244.1.0/24".parse().unwrap();
        let told = |rules: &str| dropping("iptables-legacy", rules, &range).map(|one| one.remedy);
        assert_eq!(told(":FORWARD ACCEPT [0:0]\n"), None);
        let rules = ":INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n-A FORWARD -j DOCKER-USER\n";
        let remedy = "iptables-legacy -I FORWARD -s 10.244.1.0/24 -j ACCEPT; iptables-legacy -I FORWARD -d 10.244.1.0/24 -j ACCEPT";
        assert_eq!(told(rules).as_deref(), Some(remedy));
        let half = format!("{rules}-A FORWARD -s 10.244.0.0/16 -j ACCEPT\n");
        assert!(told(&half).is_some());
        let whole = format!("{half}-A DOCKER-USER -d 10.244.1.0/24 -j ACCEPT\n");
        assert_eq!(told(&whole), None);
    }
}
