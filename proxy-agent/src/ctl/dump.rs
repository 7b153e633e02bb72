//! `proxyctl dump SUBJECT`: the live maps in words.

use super::{
    Context, CtlError, Exit,
    args::{DumpArgs, Subject},
    output::Output,
};

/// Prints one subject.
pub async fn run(_context: &Context, args: &DumpArgs, _out: &mut Output) -> Result<Exit, CtlError> {
    let subject = args.subject;
    let _: Subject = subject;
    Err(CtlError::new(
        Exit::Failed,
        format!("dump {subject:?}: not there yet"),
    ))
}
