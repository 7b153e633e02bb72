//! What XDP does for a packet from outside, by the kernel's own clock, beside programs that do next to nothing; called by
//! `cargo xtask bench north-south`, which renders what this prints.
//!
//! `BPF_PROG_TEST_RUN` repeats a program that puts a frame back as it was, gives it the ends of a flow, and calls the program that is
//! measured. The price of that is in all rows alike. 10 000 Services are in the maps.
//!
//! Arguments: the object of the programs to compare with, and how often each is run. Each line on stdin asks for a round, whose rows
//! are printed as a line of JSON.

use std::{
    env, fs,
    io::{self, BufRead as _, Write as _},
};

use anyhow::{Context as _, Result};
use weir_tests::world::load::stay_on_one_cpu;

mod again;
mod flows;
mod node;
mod rows;

use again::Again;

fn main() -> Result<()> {
    // Cargo says `--bench` to every bench.
    let mut arguments = env::args().skip(1).filter(|word| word != "--bench");
    let object = arguments.next().context("which object?")?;
    let object = fs::read(&object).with_context(|| format!("read {object}"))?;
    let times = arguments.next().context("how often?")?;
    let times: u32 = times
        .parse()
        .with_context(|| format!("how often: {times}"))?;
    stay_on_one_cpu()?;
    let mut bench = node::prepare()?;
    let mut again = Again::load(&object)?;
    let mut subjects = flows::subjects(&mut bench)?;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        line.context("be asked for a round")?;
        let rows = rows::round(&mut bench, &mut again, &mut subjects, times)?;
        serde_json::to_writer(&mut out, &rows).context("print the results")?;
        writeln!(out).context("print the results")?;
        out.flush().context("print the results")?;
    }
    Ok(())
}
