//! Waiting for a condition. No test asserts how long something took; they only bound it.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How many times slower than other machines this one is, as `WEIR_SLOWNESS` says: an emulated one is.
pub fn slowness() -> u32 {
    static TOLD: LazyLock<u32> = LazyLock::new(|| {
        let told = std::env::var("WEIR_SLOWNESS").ok();
        told.and_then(|told| told.parse().ok()).unwrap_or(1)
    });
    *TOLD
}

/// Calls `check` until it gives a value, for at most `limit`; says what was waited for when it did not come.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let limit = limit * slowness();
    let end = Instant::now() + limit;
    loop {
        let last = match check() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= end {
            match last {
                Some(error) => return Err(error.context(format!("waited {limit:?} for {what}"))),
                None => bail!("waited {limit:?} for {what}"),
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
