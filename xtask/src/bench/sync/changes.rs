//! One endpoint after the other moves to another address.

use std::{ops::Range, thread, time::Duration};

use anyhow::Result;

use super::Bench;
use crate::bench::objects;

/// Makes the changes of these numbers to different Services, with a pause after each. What was made before
/// changes nothing, and nobody is told of it.
pub(super) fn make(bench: &Bench<'_>, numbers: Range<usize>, pause: Duration) -> Result<()> {
    let Bench { node: _, api, args } = bench;
    for number in numbers {
        let slice = objects::moved_filler(number % args.services as usize, args.endpoints, number);
        api.replace(&slice)?;
        thread::sleep(pause);
    }
    Ok(())
}
