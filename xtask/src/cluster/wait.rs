//! Waiting for a condition, with an end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for a busy machine; everything here takes seconds.
const PATIENCE: Duration = Duration::from_mins(3);

/// Returns when `met` does not say `false` any more.
pub(crate) fn until(what: &str, mut met: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if met()? {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what} in vain", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(200));
    }
}
