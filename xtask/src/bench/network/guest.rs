//! Encryption where this kernel has no WireGuard: this program again, in an emulated machine with a kernel of Debian's.

use anyhow::{Context as _, Result};

use super::{Plan, row::Row};
use crate::{kernels, tools::debian};

/// The kernel's series in the matrix.
const SERIES: &str = "6.12";
/// Where its programs are, in the machine.
const PROGRAMS: &str = "/weir";
/// Where its results are, in the machine.
const ROWS: &str = "/tmp/rows.json";
/// Around the results, on the console.
const MARKS: [&str; 2] = ["weir-bench-begins", "weir-bench-ends"];
/// An emulated machine does so many times less in a second.
const SLOWNESS: u32 = 25;
/// And takes so many times longer until an agent is healthy, where the host has other things to do.
const PATIENCE: u32 = 40;

/// Boots it, and reads what it prints.
pub(super) fn measure(plan: Plan) -> Result<Vec<Row>> {
    debian::host(&[("wg", "wireguard-tools")])?;
    let Plan {
        rounds,
        span,
        only_throughput,
    } = plan;
    let only = if only_throughput {
        "--only-throughput"
    } else {
        ""
    };
    let span = (span * SLOWNESS).as_millis();
    let [begin, end] = MARKS;
    // A console is a terminal, to which progress would be drawn.
    let script = format!(
        "export WEIR_SLOWNESS={PATIENCE}\n\
         /tests/xtask bench network --topics encryption --rounds {rounds} --span {span} {only} --programs {PROGRAMS} \
         --json {ROWS} 2>&1 | cat\n\
         echo {begin}; cat {ROWS}; echo; echo {end}\n"
    );
    let console = kernels::run_script(SERIES, &["wg"], &script)?;
    let rows = between(&console).with_context(|| {
        format!("no results of the emulated machine: see target/kernels, {SERIES}")
    })?;
    serde_json::from_str(rows).with_context(|| format!("read the results {rows}"))
}

fn between(console: &str) -> Option<&str> {
    let (_, rest) = console.split_once(MARKS[0])?;
    rest.split_once(MARKS[1]).map(|(rows, _)| rows)
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn results_are_found_on_a_console() {
        let console = "boot\r\nweir-bench-begins\r\n[1,\r\n2]\r\nweir-bench-ends\r\n";
        assert_eq!(between(console), Some("\r\n[1,\r\n2]\r\n"));
        assert_eq!(between("Kernel panic"), None);
    }
}
