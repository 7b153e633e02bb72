//! `proxyctl diff`: what a full comparison would change, without changing it: Services by the cluster's state,
//! policy by what the agent wrote.

use serde::Serialize;

use super::{Context, CtlError, Exit, output::Output};

#[derive(Debug, Serialize)]
struct Differences {
    items: Vec<String>,
}

/// Prints the differences; exit code 1 if there are any.
pub async fn run(context: &Context, out: &mut Output) -> Result<Exit, CtlError> {
    let differences: Vec<String> = context.client.get("/v1/diff").await?;
    let list = Differences { items: differences };
    out.object("DifferenceList", &list, |to| {
        let mut lines = list.items.iter();
        lines.try_for_each(|line| writeln!(to, "{line}"))
    })?;
    Ok(if list.items.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}
