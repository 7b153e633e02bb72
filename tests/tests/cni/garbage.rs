//! Garbage on stdin: one error document, exit code 1, nothing changed.

use weir_tests::cni::{Container, Runtime, runtime};

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

#[test]
fn is_refused_whatever_it_is() {
    let runtime = Runtime::new(&["10.244.1.0/24"]).unwrap();
    let container = Container::new("a").unwrap();
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
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        for input in &inputs {
            let mut environment = runtime::of(&container);
            environment.push(("CNI_COMMAND", verb.to_owned()));
            let outcome = runtime.run(&environment, input).unwrap();
            assert_eq!(
                (outcome.status, outcome.code()),
                (Some(1), 6),
                "{verb}: {outcome:?}"
            );
        }
    }
    runtime.nothing_left().unwrap();
}
