//! DEL: always succeeds, whatever is left of the container. What could not be undone is the collector's.

use super::Context;
use crate::{detach::Detach, talk::say};

/// Seconds after which DEL waits for nothing any more. What follows the last wait takes less than one.
const DEADLINE: u64 = 6;

/// Runs the verb.
pub fn run(context: &Context) -> String {
    let errors = Detach {
        key: &context.call.key,
        of: None,
        netns: context.call.netns.as_deref(),
        tell_agent: true,
        rest: true,
        deadline: context.after(DEADLINE),
    }
    .run(&context.paths);
    for error in errors {
        say(error);
    }
    String::new()
}
