//! Endpoints that move to other addresses.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::Args;
use crate::bench::{api::Api, objects};

/// Between two lone changes: so that none waits for another.
const PAUSE: Duration = Duration::from_millis(20);
/// Changes made at a time, where they come as fast as can be.
const WRITERS: usize = 4;

/// Makes as many changes as are asked for, numbered from `from`, to different Services.
pub(super) fn one_by_one(api: &Api, args: &Args, from: usize) -> Result<()> {
    for number in from..from + args.changes {
        change(api, args, number)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Makes ten times as many without a pause; how many, and in how many seconds.
pub(super) fn at_once(api: &Api, args: &Args) -> Result<(f64, f64)> {
    let count = 10 * args.changes;
    let from = 10 * args.changes;
    let next = AtomicUsize::new(from);
    let begin = Instant::now();
    thread::scope(|scope| {
        let write = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= from + count {
                    return Ok(());
                }
                change(api, args, number)?;
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        let ends = writers.into_iter().map(thread::ScopedJoinHandle::join);
        for end in ends {
            end.map_err(|_panic| anyhow!("a writer panicked"))??;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let count = count as f64;
    Ok((count, begin.elapsed().as_secs_f64()))
}

fn change(api: &Api, args: &Args, number: usize) -> Result<()> {
    let service = number % args.services as usize;
    api.replace(&objects::moved_filler(service, args.endpoints, number))
}
