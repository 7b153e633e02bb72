//! One endpoint after the other moves to another address.

use std::{thread, time::Duration};

use anyhow::Result;

use super::Bench;
use crate::bench::objects;

/// Makes `count` changes to different Services, with a pause after each.
pub(super) fn make(bench: &Bench<'_>, count: usize, pause: Duration) -> Result<()> {
    let Bench { node: _, api, args } = bench;
    for number in 0..count {
        let slice = objects::moved_filler(number % args.services as usize, args.endpoints, number);
        api.replace(&slice)?;
        thread::sleep(pause);
    }
    Ok(())
}
