//! DEL: always succeeds, whatever is left of the container. What could not be undone is the collector's.

use super::Context;
use crate::{detach::Detach, talk::say};

/// Seconds that DEL may take.
const DEADLINE: u64 = 8;

/// Runs the verb.
pub fn run(context: &Context) -> String {
    let errors = Detach {
        key: &context.call.key,
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
