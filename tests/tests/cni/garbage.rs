//! Garbage on stdin: one error document, exit code 1, nothing changed. But DEL takes the container down.

use serde_json::json;
use weir_tests::cni::{Container, Outcome, Runtime, runtime};

/// Bytes that look random and are the same in every run (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed;
    (0..length)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect()
}

fn inputs() -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = (1..20).map(|seed| noise(seed, 4096)).collect();
    inputs.extend([
        Vec::new(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{".to_vec(),
        b"{\"name\":7}".to_vec(),
        b"{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"runtimeConfig\":7}".to_vec(),
        vec![b'['; 1 << 20],
        vec![b' '; 5 << 20],
    ]);
    inputs
}

/// A call whose folder is in the environment: what is on stdin does not tell it.
fn call(runtime: &Runtime, container: &Container, verb: &str, input: &[u8]) -> Outcome {
    let mut environment = runtime::of(container);
    environment.push(("CNI_COMMAND", verb.to_owned()));
    let folder = runtime.paths.root().display().to_string();
    environment.push(("WEIR_RUN_DIR", folder));
    runtime.run(&environment, input).unwrap()
}

#[test]
fn is_refused_whatever_it_is() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let container = Container::new("a").unwrap();
    for verb in ["ADD", "CHECK", "GC", "STATUS"] {
        for input in inputs() {
            let outcome = call(&runtime, &container, verb, &input);
            assert_eq!(
                (outcome.status, outcome.code()),
                (Some(1), 6),
                "{verb}: {outcome:?}"
            );
        }
    }
    runtime.nothing_left().unwrap();
}

#[test]
fn is_no_reason_to_keep_a_container() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let other = Container::new("other").unwrap();
    assert_eq!(runtime.add(&other).unwrap().status, Some(0));
    let folder = runtime.paths.root();
    let mut inputs = inputs();
    inputs.extend([
        // What libcni of another age, or another hand, may have left in its cache.
        json!({ "name": "weir", "cniVersion": "9.9.9" })
            .to_string()
            .into_bytes(),
        json!({ "cniVersion": "1.1.0" }).to_string().into_bytes(),
        json!({ "name": 7, "runDir": folder })
            .to_string()
            .into_bytes(),
    ]);
    for (n, input) in inputs.iter().enumerate() {
        let container = Container::new(&format!("c{n}")).unwrap();
        assert_eq!(runtime.add(&container).unwrap().status, Some(0));
        let deleted = call(&runtime, &container, "DEL", input);
        assert_eq!(
            (deleted.status, deleted.code()),
            (Some(0), 0),
            "{deleted:?}"
        );
        assert!(!deleted.stderr.is_empty(), "says so");
        assert_eq!(container.space.links().unwrap(), ["lo"]);
        assert_eq!(runtime.state().unwrap().leases.len(), 1, "input {n}");
    }
    runtime.del(&other).unwrap();
    runtime.nothing_left().unwrap();
}

/// Valid documents with one value exchanged for something of another kind or size.
#[test]
fn that_is_nearly_right_never_ends_the_plugin_by_a_signal() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("x".repeat(5000)),
        json!([]),
        json!([{}]),
        json!({}),
        json!([[[[]]]]),
    ];
    let keys = [
        "cniVersion",
        "name",
        "timeoutSeconds",
        "ipam",
        "prevResult",
        "runtimeConfig",
        "capabilities",
        "cni.dev/valid-attachments",
        "cni.dev/attachments",
    ];
    let container = Container::new("a").unwrap();
    for key in keys {
        for value in &values {
            let mut config = runtime.config.clone();
            config[key] = value.clone();
            for verb in ["ADD", "CHECK", "GC", "DEL"] {
                let done = runtime.call(verb, Some(&container), &config).unwrap();
                assert!(
                    matches!(done.status, Some(0 | 1)),
                    "{verb} {key} {value}: {done:?}"
                );
            }
        }
    }
    runtime.nothing_left().unwrap();
}
