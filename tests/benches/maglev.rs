//! What building a Maglev table takes: `cargo bench -p weir-tests --bench maglev`.

use std::{hint::black_box, io::Write as _, net::Ipv4Addr, time::Instant};

use proxy_agent::service::maglev::build::{Backend, build};

const ROUNDS: usize = 101;
const SIZE: u16 = 16_381;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for count in [2, 10, 100, 1_000, 5_000] {
        let backends = (0..count).map(|number| Backend {
            address: Ipv4Addr::from_bits(0x0af4_0000 + number).into(),
            port: 8080,
            weight: 1,
        });
        let backends: Vec<Backend> = backends.collect();
        let mut took: Vec<u128> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                black_box(build(SIZE, black_box(&backends)));
                began.elapsed().as_micros()
            })
            .collect();
        took.sort_unstable();
        let (median, least) = (took[ROUNDS / 2], took[0]);
        writeln!(
            out,
            "{count} backends, {SIZE} places: {median} µs (median of {ROUNDS}), {least} µs at least"
        )?;
    }
    Ok(())
}
