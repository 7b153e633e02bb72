//! Clients of the demo: how answers spread, and whether any connection failed meanwhile.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use weir_world::{Pod, ask_tcp};

/// Who answered how often.
pub(super) type Tally = BTreeMap<String, u32>;

/// Connects `times` times, one after the other.
pub(super) fn ask(client: &Pod, to: SocketAddr, times: u32) -> Result<Tally> {
    let mut tally = Tally::new();
    for _ in 0..times {
        let answer = ask_tcp(client, to).with_context(|| format!("connect to {to}"))?;
        *tally.entry(answer.name).or_default() += 1;
    }
    Ok(tally)
}

/// Connects all the time while `change` is at work; gives how many connections were made meanwhile.
/// One that fails fails the demo.
pub(super) fn during<T>(
    client: &Pod,
    to: [SocketAddr; 2],
    change: impl FnOnce() -> Result<T>,
) -> Result<(T, u32)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| -> Result<u32> {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                for to in to {
                    ask(client, to, 1)?;
                    count += 1;
                }
                // About 100 new connections a second.
                thread::sleep(Duration::from_millis(15));
            }
            Ok(count)
        });
        let changed = change();
        stop.store(true, Ordering::Relaxed);
        let count = asking
            .join()
            .map_err(|_panic| anyhow!("a client panicked"))??;
        Ok((changed?, count))
    })
}

/// A tally as one line.
pub(super) fn told(tally: &Tally) -> String {
    let parts: Vec<String> = tally
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    parts.join(", ")
}
