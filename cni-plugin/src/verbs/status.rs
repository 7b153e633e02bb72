//! STATUS: could ADD be served? Fails only for what lasts, because a failure makes the node not ready, and
//! after five minutes its pods are evicted.

use std::time::Duration;

use super::{Context, node, uninitialised};
use crate::{
    LOGS_HINT, heartbeat,
    protocol::error::{Error, code},
};

/// An agent that restarts is away for less.
pub const SILENCE: Duration = Duration::from_mins(1);

/// Runs the verb.
pub fn run(context: &Context) -> Result<String, Error> {
    node(&context.paths).map_err(|cause| uninitialised(code::NOT_AVAILABLE, &cause))?;
    match heartbeat::silence(&context.paths.heartbeat()) {
        Some(silence) if silence > SILENCE => Err(Error::new(
            code::LIMITED,
            format!("the weir agent has been silent for {} s", silence.as_secs()),
        )
        .because(LOGS_HINT)),
        _ => Ok(String::new()),
    }
}
