//! GC (garbage collection): undoes every attachment that is not in the runtime's list.

use super::Context;
use crate::{
    claim::claim,
    detach::Detach,
    ledger, leftovers,
    node_file::boot_id,
    protocol::error::{Error, code},
    rpc::Key,
};

/// Seconds that GC may take.
const DEADLINE: u64 = 25;

/// Runs the verb. Without a list nothing is known to be dead; null is an empty list.
pub fn run(context: &Context) -> Result<String, Error> {
    let Some(valid) = context.config.valid_attachments() else {
        return Ok(String::new());
    };
    if !context.paths.root().exists() {
        return Ok(String::new());
    }
    let valid: Vec<Key> = valid.iter().cloned().map(Key::from).collect();
    let boot = boot_id().map_err(|e| Error::io("read boot_id", &e))?;
    let deadline = context.after(DEADLINE);
    for key in &valid {
        claim(&context.paths, key, deadline)?;
    }
    let errors: Vec<String> = ledger::keys(&context.paths, &boot, deadline)?
        .iter()
        .filter(|key| !valid.contains(key))
        .flat_map(|key| {
            Detach {
                key,
                of: None,
                netns: None,
                tell_agent: true,
                rest: true,
                deadline,
            }
            .run(&context.paths)
        })
        .chain(leftovers::sweep(&context.paths, deadline))
        .map(|e| e.to_string())
        .collect();
    if errors.is_empty() {
        return Ok(String::new());
    }
    Err(Error::new(
        code::WIRING,
        format!("{} of the dead attachments are left", errors.len()),
    )
    .because(errors.join("; ")))
}
