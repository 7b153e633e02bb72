//! Plans against what must hold of them, looked up the slow way.

use proptest::prelude::*;

use super::*;
use crate::model::Protocol::Tcp;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pool(name: &str, addresses: &[&str], auto_assign: bool) -> AddressPool {
    AddressPool {
        name: name.to_owned(),
        addresses: addresses.iter().map(|r| r.parse().unwrap()).collect(),
        auto_assign,
    }
}

fn demand(name: &str, created: i64) -> Demand {
    Demand {
        name: ObjectName::new("x", name),
        created,
        ours: true,
        families: [true, false],
        ports: vec![(Tcp, 80)],
        ..Demand::default()
    }
}

fn pools() -> Vec<AddressPool> {
    vec![
        pool(
            "a",
            &["192.0.2.0-192.0.2.2", "2001:db8::1-2001:db8::2"],
            true,
        ),
        pool("b", &["192.0.2.9/32", "2001:db8::9/128"], false),
    ]
}

/// All addresses of pools, one by one.
fn all(pools: &[AddressPool]) -> Vec<(&AddressPool, IpAddr)> {
    let of = |range: &AddressRange| {
        (0..range.size())
            .filter_map(|n| range.nth(n))
            .collect::<Vec<_>>()
    };
    let pairs = pools.iter().flat_map(|pool| {
        let ips = pool.addresses.iter().flat_map(of).collect::<Vec<_>>();
        ips.into_iter().map(move |ip| (pool, ip))
    });
    pairs.collect()
}

use crate::config::AddressRange;

/// Services as they are once a plan is carried out.
fn after(demands: &[Demand], plan: &Plan) -> Vec<Demand> {
    let mut demands = demands.to_vec();
    for demand in demands.iter_mut().filter(|demand| demand.ours) {
        demand.given.clone_from(&plan.addresses[&demand.name]);
    }
    demands
}

/// Whether two of what is given go together.
fn go_together(one: &Demand, other: &Demand) -> bool {
    let ports = one.ports.iter().all(|port| !other.ports.contains(port));
    one.sharing.is_some() && one.sharing == other.sharing && ports && !one.local && !other.local
}

/// Whether a Service could be given an address beside what all have.
fn could_have(
    pools: &[AddressPool],
    then: &[Demand],
    reserved: &BTreeSet<IpAddr>,
    one: &Demand,
    (pool, ip): (&AddressPool, IpAddr),
) -> bool {
    let named = match &one.pool {
        Some(name) => *name == pool.name,
        None => pool.auto_assign || one.requested.contains(&ip) || is_shared(then, one, ip),
    };
    let others = then
        .iter()
        .filter(|d| d.name != one.name && d.given.contains(&ip));
    let free = others
        .into_iter()
        .all(|other| other.ours && go_together(one, other));
    named && free && !reserved.contains(&ip) && pools.iter().any(|p| p.name == pool.name)
}

fn is_shared(then: &[Demand], one: &Demand, ip: IpAddr) -> bool {
    then.iter()
        .any(|d| d.sharing.is_some() && d.sharing == one.sharing && d.given.contains(&ip))
}

fn judge(
    pools: &[AddressPool],
    demands: &[Demand],
    reserved: &BTreeSet<IpAddr>,
) -> Result<(), TestCaseError> {
    let made = plan(pools, demands, reserved);
    let then = after(demands, &made);
    prop_assert_eq!(
        &plan(pools, &then, reserved).addresses,
        &made.addresses,
        "what is planned stays"
    );
    for one in then.iter().filter(|d| d.ours) {
        for ipv6 in [false, true] {
            let of_family: Vec<_> = one.given.iter().filter(|ip| ip.is_ipv6() == ipv6).collect();
            prop_assert!(
                of_family.len() <= 1 && (one.families[usize::from(ipv6)] || of_family.is_empty())
            );
        }
        for ip in &one.given {
            let place = all(pools).into_iter().find(|(_, other)| other == ip);
            prop_assert!(place.is_some(), "{ip} is in no pool");
            let (pool, _) = place.unwrap();
            prop_assert!(one.pool.as_ref().is_none_or(|name| *name == pool.name));
            prop_assert!(!reserved.contains(ip));
            for other in then
                .iter()
                .filter(|d| d.name != one.name && d.given.contains(ip))
            {
                prop_assert!(
                    other.ours && go_together(one, other),
                    "{one:?} and {other:?}"
                );
            }
        }
        let before = demands.iter().find(|d| d.name == one.name).unwrap();
        told(pools, &then, reserved, one, &made)?;
        kept(pools, demands, reserved, before, one)?;
    }
    Ok(())
}

/// Whoever lacks something is told, and could not have had it.
fn told(
    pools: &[AddressPool],
    then: &[Demand],
    reserved: &BTreeSet<IpAddr>,
    one: &Demand,
    made: &Plan,
) -> Result<(), TestCaseError> {
    let refused = made.refused.get(&one.name);
    let lacks = |ipv6: bool| {
        one.families[usize::from(ipv6)] && !one.given.iter().any(|ip| ip.is_ipv6() == ipv6)
    };
    let unmet = one.requested.iter().any(|ip| !one.given.contains(ip));
    if refused.is_none() {
        prop_assert!(!unmet);
        prop_assert!(
            one.given.is_empty() <= one.families.iter().all(|wanted| !wanted),
            "{:?}",
            one
        );
        prop_assert!(!one.needs_all || !lacks(false) && !lacks(true));
    }
    if matches!(refused, Some(Refusal::Mistake(_))) {
        return Ok(());
    }
    // Of both or none, one may have to do without what is there.
    let halves = one.needs_all && refused.is_some();
    for ipv6 in [false, true]
        .into_iter()
        .filter(|ipv6| lacks(*ipv6) && !halves)
    {
        let asked = one.requested.iter().find(|ip| ip.is_ipv6() == ipv6);
        let mut places = all(pools)
            .into_iter()
            .filter(|(_, ip)| ip.is_ipv6() == ipv6 && asked.is_none_or(|a| a == ip));
        prop_assert!(
            !places.any(|place| could_have(pools, then, reserved, one, place)),
            "{one:?} could have had one"
        );
    }
    if let Some(Refusal::Taken(ip, _)) = refused {
        let place = all(pools).into_iter().find(|(_, other)| other == ip);
        prop_assert!(
            halves || !place.is_some_and(|place| could_have(pools, then, reserved, one, place))
        );
    }
    Ok(())
}

/// What one has it keeps, if nobody older has the same and it asks for nothing else.
fn kept(
    pools: &[AddressPool],
    demands: &[Demand],
    reserved: &BTreeSet<IpAddr>,
    before: &Demand,
    now: &Demand,
) -> Result<(), TestCaseError> {
    for ipv6 in [false, true] {
        let mut given = before.given.iter().filter(|ip| ip.is_ipv6() == ipv6);
        let (Some(had), None) = (given.next(), given.next()) else {
            continue;
        };
        let in_pool = all(pools).iter().any(|(pool, ip)| {
            ip == had && before.pool.as_ref().is_none_or(|name| *name == pool.name)
        });
        let contested = demands
            .iter()
            .any(|d| d.name != before.name && d.given.contains(had));
        let asks = before
            .requested
            .iter()
            .any(|ip| ip.is_ipv6() == ipv6 && ip != had);
        let wanted = before.families[usize::from(ipv6)];
        if in_pool && wanted && !contested && !asks && !reserved.contains(had) {
            prop_assert!(now.given.contains(had), "{had} was taken from {before:?}");
        }
    }
    Ok(())
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    let all = [
        "192.0.2.0",
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.9",
        "192.0.2.77",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8::9",
    ];
    proptest::sample::select(all.to_vec()).prop_map(ip)
}

fn any_demand() -> impl Strategy<Value = Demand> {
    let key = proptest::option::weighted(0.5, proptest::sample::select(vec!["k", "l"]));
    let pool = proptest::option::weighted(0.2, proptest::sample::select(vec!["a", "b", "none"]));
    let families = proptest::sample::select(vec![[true, false], [false, true], [true, true]]);
    (
        (0..4_i64, prop::bool::weighted(0.9), families, any::<bool>()),
        (
            prop::collection::vec(any_ip(), 0..2),
            prop::collection::vec(any_ip(), 0..3),
        ),
        (key, pool, 1..4_u16, prop::bool::weighted(0.2)),
    )
        .prop_map(
            |((created, ours, families, both), (requested, given), (key, pool, port, local))| {
                Demand {
                    created,
                    ours,
                    families,
                    needs_all: both && families == [true, true],
                    requested,
                    given,
                    sharing: key.map(str::to_owned),
                    pool: pool.map(str::to_owned),
                    ports: vec![(Tcp, port)],
                    local,
                    ..demand("", 0)
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn plans_are_right_whatever_is_asked_for(
        demands in prop::collection::vec(any_demand(), 0..9),
        reserved in prop::collection::btree_set(any_ip(), 0..2),
    ) {
        let demands: Vec<Demand> = demands.into_iter().enumerate().map(|(i, demand)| Demand {
            name: ObjectName::new("x", format!("s{i}")),
            ..demand
        }).collect();
        judge(&pools(), &demands, &reserved)?;
    }
}

fn addresses(plan: &Plan, name: &str) -> Vec<String> {
    let addresses = &plan.addresses[&ObjectName::new("x", name)];
    addresses.iter().map(ToString::to_string).collect()
}

fn why(plan: &Plan, name: &str) -> String {
    let refusal = &plan.refused[&ObjectName::new("x", name)];
    format!("{}: {refusal}", refusal.reason().name())
}

#[test]
fn the_oldest_is_given_first_and_exhaustion_is_told() {
    let demands: Vec<Demand> = [("d", 1), ("c", 2), ("b", 3), ("a", 4)]
        .map(|(name, at)| demand(name, at))
        .into();
    let plan = plan(&pools(), &demands, &BTreeSet::from([ip("192.0.2.1")]));
    assert_eq!(addresses(&plan, "d"), ["192.0.2.0"]);
    assert_eq!(addresses(&plan, "c"), ["192.0.2.2"]);
    assert_eq!(addresses(&plan, "b"), Vec::<String>::new());
    assert_eq!(
        why(&plan, "a"),
        "AddressesExhausted: no IPv4 address is free in a"
    );
}

#[test]
fn requests_are_honoured_or_refused_and_what_is_had_stays() {
    let ask = |name: &str, at, ip_: &str| Demand {
        requested: vec![ip(ip_)],
        ..demand(name, at)
    };
    let has = |one: Demand, ip_: &str| Demand {
        given: vec![ip(ip_)],
        ..one
    };
    let demands = [
        has(demand("old", 1), "192.0.2.1"),
        ask("asks", 2, "192.0.2.2"),
        ask("late", 3, "192.0.2.1"),
        has(ask("moves", 4, "192.0.2.9"), "192.0.2.0"),
        ask("far", 5, "198.51.100.1"),
        Demand {
            requested: vec![ip("2001:db8::1")],
            ..demand("family", 6)
        },
        Demand {
            pool: Some("c".to_owned()),
            ..demand("pool", 7)
        },
    ];
    let plan = plan(&pools(), &demands, &BTreeSet::new());
    assert_eq!(addresses(&plan, "old"), ["192.0.2.1"]);
    assert_eq!(addresses(&plan, "asks"), ["192.0.2.2"]);
    assert_eq!(
        why(&plan, "late"),
        "AddressTaken: 192.0.2.1 is Service x/old's, with which it does not share"
    );
    assert_eq!(addresses(&plan, "moves"), ["192.0.2.9"]);
    assert_eq!(
        why(&plan, "far"),
        "AddressRequestInvalid: 198.51.100.1 is in no pool"
    );
    assert_eq!(
        why(&plan, "family"),
        "AddressRequestInvalid: it asks for an IPv6 address, but IPv6 is not among its ipFamilies"
    );
    assert_eq!(
        why(&plan, "pool"),
        "AddressRequestInvalid: there is no pool c"
    );
}

#[test]
fn one_address_is_shared_by_key_if_ports_differ() {
    let share = |name: &str, at, port| Demand {
        sharing: Some("k".to_owned()),
        ports: vec![(Tcp, port)],
        ..demand(name, at)
    };
    let local = Demand {
        local: true,
        requested: vec![ip("192.0.2.0")],
        ..share("local", 5, 443)
    };
    let demands = [
        share("one", 1, 80),
        share("two", 2, 81),
        share("same", 3, 80),
        share("three", 4, 82),
        local,
    ];
    let plan = plan(&pools(), &demands, &BTreeSet::new());
    for name in ["one", "two", "three"] {
        assert_eq!(addresses(&plan, name), ["192.0.2.0"]);
    }
    assert_eq!(addresses(&plan, "same"), ["192.0.2.1"]);
    assert!(why(&plan, "local").contains("only Services with externalTrafficPolicy Cluster share"));
}

#[test]
fn two_families_are_both_or_what_there_is() {
    let both = |name: &str, at, needs_all| Demand {
        families: [true, true],
        needs_all,
        ..demand(name, at)
    };
    let six = |name: &str, at| Demand {
        families: [false, true],
        ..demand(name, at)
    };
    let demands = [
        both("a", 1, true),
        six("b", 2),
        both("c", 3, true),
        both("d", 4, false),
    ];
    let plan = plan(&pools(), &demands, &BTreeSet::new());
    assert_eq!(addresses(&plan, "a"), ["192.0.2.0", "2001:db8::1"]);
    assert_eq!(addresses(&plan, "b"), ["2001:db8::2"]);
    assert_eq!(addresses(&plan, "c"), Vec::<String>::new());
    assert_eq!(
        why(&plan, "c"),
        "AddressesExhausted: no IPv6 address is free in a"
    );
    assert_eq!(addresses(&plan, "d"), ["192.0.2.1"]);
    assert!(!plan.refused.contains_key(&ObjectName::new("x", "d")));
}
