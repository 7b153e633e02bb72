//! Many ADDs and DELs at once, beside a model of leases: who has an address has it alone, until it gives it back.

use std::collections::{BTreeMap, BTreeSet};

use weir_tests::{
    cni::{Container, Runtime, runtime},
    length,
};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];
/// Of so many pods all have room.
const ROOM: usize = 253;

/// Addresses by container.
type Leases = BTreeMap<String, Vec<String>>;

/// Calls a verb for all of these at once, and gives what each call gave.
fn at_once(runtime: &Runtime, verb: &str, containers: &[Container]) -> Leases {
    let config = runtime.with(&serde_json::json!({ "timeoutSeconds": 60 }));
    let config = config.to_string();
    let begun = containers.iter().map(|container| {
        let mut environment = runtime::of(container);
        environment.push(("CNI_COMMAND", verb.to_owned()));
        let child = runtime.start(&environment, config.as_bytes()).unwrap();
        (container.id.clone(), child)
    });
    // All have begun before the first is waited for.
    let begun: Vec<_> = begun.collect();
    let done = begun.into_iter().map(|(id, child)| {
        let done = runtime::finish(child).unwrap();
        assert_eq!(done.status, Some(0), "{verb} {id}: {done:?}");
        (id, done.ips())
    });
    done.collect()
}

/// Whether what is given out is this, to each alone.
fn is_right(runtime: &Runtime, wanted: &Leases) {
    let state = runtime.state().unwrap();
    assert_eq!(state.leases.len(), wanted.len());
    let all: Vec<&String> = wanted.values().flatten().collect();
    let different: BTreeSet<&String> = all.iter().copied().collect();
    assert_eq!(all.len(), different.len(), "an address was given twice");
    assert_eq!(all.len(), 2 * wanted.len());
    let given = format!("{:?}", state.leases);
    for address in different {
        assert!(given.contains(address.as_str()), "{address}: {given}");
    }
}

#[test]
fn a_storm_of_adds_gives_each_its_own_addresses() {
    let runtime = Runtime::new(&DUAL).unwrap();
    let count = length::steps(30, 200) as usize;
    let crowd = |from: usize| -> Vec<Container> {
        let numbers = from..from + count;
        numbers
            .map(|n| Container::new(&format!("c{n}")).unwrap())
            .collect()
    };
    let mut containers = crowd(0);
    let mut leases = at_once(&runtime, "ADD", &containers);
    is_right(&runtime, &leases);
    // Half of them go, and others come.
    let left = containers.split_off(count / 2);
    at_once(&runtime, "DEL", &left);
    for gone in &left {
        leases.remove(&gone.id);
    }
    is_right(&runtime, &leases);
    let more: Vec<Container> = crowd(count).into_iter().take(left.len()).collect();
    assert!(leases.len() + more.len() <= ROOM);
    leases.extend(at_once(&runtime, "ADD", &more));
    is_right(&runtime, &leases);
    at_once(&runtime, "DEL", &containers);
    at_once(&runtime, "DEL", &more);
    runtime.nothing_left().unwrap();
}
