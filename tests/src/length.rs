//! How long random tests run, and where they begin.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
};

/// The short form, or with `WEIR_LONG` (`cargo xtask test --long`) the long one.
pub fn steps(short: u64, long: u64) -> u64 {
    if env::var_os("WEIR_LONG").is_some() {
        long
    } else {
        short
    }
}

/// `WEIR_SEED`, by which a run is repeated, or another one each time.
pub fn seed() -> u64 {
    told().unwrap_or_else(|| RandomState::new().hash_one(0))
}

/// The same, but in the short form always this one: for tests whose every run is long, so that each run of the short form
/// tells of the change at hand.
pub fn seed_unless_long(short: u64) -> u64 {
    if env::var_os("WEIR_LONG").is_some() {
        seed()
    } else {
        told().unwrap_or(short)
    }
}

fn told() -> Option<u64> {
    let word = env::var("WEIR_SEED").ok()?;
    Some(word.parse().expect("WEIR_SEED is a number"))
}
