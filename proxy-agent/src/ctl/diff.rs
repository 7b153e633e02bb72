//! `proxyctl diff`: what a full comparison would change, without changing it: Services by the cluster's state,
//! policy by what the agent wrote.

use super::{Context, CtlError, Exit, output::Output};

/// Prints the differences; exit code 1 if there are any.
pub async fn run(context: &Context, out: &mut Output) -> Result<Exit, CtlError> {
    let differences: Vec<String> = context.client.get("/v1/diff").await?;
    out.object(&differences, |to| {
        differences
            .iter()
            .try_for_each(|line| writeln!(to, "{line}"))
    })?;
    Ok(if differences.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}
