//! DEL: always succeeds, whatever is left of the container. What could not be undone is left to garbage collection.

use super::Context;
use crate::{claim::claim, detach::Detach, talk::say};

/// Seconds after which DEL waits for nothing any more. What follows the last wait takes less than one.
const DEADLINE: u64 = 6;

/// Runs the verb.
pub fn run(context: &Context) -> String {
    let deadline = context.after(DEADLINE);
    if let Err(error) = claim(&context.paths, &context.call.key, deadline) {
        say(error);
    }
    let errors = Detach {
        key: &context.call.key,
        of: None,
        netns: context.call.netns.as_deref(),
        tell_agent: true,
        rest: true,
        deadline,
    }
    .run(&context.paths);
    for error in errors {
        say(error);
    }
    String::new()
}
