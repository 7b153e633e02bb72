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
    match env::var("WEIR_SEED") {
        Ok(word) => word.parse().expect("WEIR_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    }
}
