//! What of Services works, row by row, with the tests that show it: the table of `docs/services.md`. With `UPDATE_ROWS=1` it is
//! written anew.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "rows/packets.rs"]
mod packets;
#[path = "rows/services.rs"]
mod services;

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use packets::{LIVES, REFUSED, TRANSLATED};
use services::{CHOSEN, Row, SAID, SERVED};

const PARTS: [(&str, &[Row]); 6] = [
    ("What is served", SERVED),
    ("Who is chosen", CHOSEN),
    ("How packets are translated", TRANSLATED),
    ("What is refused", REFUSED),
    ("What lives, and for how long", LIVES),
    ("What a node says of itself", SAID),
];

const HEAD: &str = "# Services, and the tests that show what is said of them

Each row names tests of `tests/tests` (`target::name`; many run for pods, nodes and outsiders, in both families, and with each way
of forwarding), scenarios of `tests/scenarios`, or unit tests of the agent. `cargo test --test TARGET NAME` runs one. This file is
made by a test, `rows`, which fails where a test that is named here is gone.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn table() -> String {
    let mut text = HEAD.to_owned();
    for (title, rows) in PARTS {
        write!(text, "\n## {title}\n| | | tests |\n|---|---|---|\n").unwrap();
        for (number, what, tests) in rows {
            let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
            writeln!(text, "| {number} | {what} | {} |", tests.join("<br>")).unwrap();
        }
    }
    text
}

#[test]
fn the_table_is_what_is_written_down() {
    let path = root().join("docs/services.md");
    if env::var_os("UPDATE_ROWS").is_some() {
        fs::write(&path, table()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written == table(),
        "hint: UPDATE_ROWS=1 cargo test --test rows"
    );
}

#[test]
fn every_row_has_a_test_and_every_test_is_there() {
    let mut numbers = BTreeSet::new();
    for (number, what, tests) in PARTS.into_iter().flat_map(|(_, rows)| rows) {
        assert!(numbers.insert(number), "{number} twice");
        assert!(!tests.is_empty(), "{what}");
        for test in *tests {
            assert!(is_there(test), "{number}, {what}: there is no test {test}");
        }
    }
}

/// Whether the file in which a test must be declares it.
fn is_there(test: &str) -> bool {
    let (modules, name) = test.rsplit_once("::").unwrap();
    let mut modules: Vec<&str> = modules.split("::").collect();
    let target = modules.remove(0);
    let inner = modules.join("/");
    let files = match target {
        "proxy_agent" => vec![format!("proxy-agent/src/{inner}.rs")],
        _ if inner.is_empty() => vec![format!("tests/tests/{target}.rs")],
        _ => vec![
            format!("tests/tests/{target}/{inner}.rs"),
            format!("tests/tests/{inner}.rs"),
        ],
    };
    let text = files
        .iter()
        .find_map(|file| fs::read_to_string(root().join(file)).ok());
    let text = text.unwrap_or_default();
    // As a function, or in the list of a macro that makes one.
    text.contains(&format!("fn {name}(")) || text.contains(&format!("    {name} = \""))
}
