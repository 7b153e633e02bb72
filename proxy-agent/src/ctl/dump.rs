//! `proxyctl dump SUBJECT`: the live maps in words.

use super::{
    Context, CtlError, Exit,
    args::{DumpArgs, Subject},
    live,
    output::Output,
    render::{affinity, conntrack, endpoints, maps},
};
use crate::{
    datapath::Pins,
    service::{
        ServiceTables,
        render::{backends, services},
    },
};

/// Prints one subject.
pub async fn run(context: &Context, args: &DumpArgs, out: &mut Output) -> Result<Exit, CtlError> {
    let reader = live::reader(context)?;
    let live = reader.maps();
    if args.subject == Subject::Maps {
        let pins = Pins::new(&context.common.bpffs, &context.common.instance)?;
        out.rows(maps::rows(live, &pins)?)?;
        return Ok(Exit::Ok);
    }
    let names = live::names(context, args.raw).await;
    match args.subject {
        Subject::Conntrack => {
            let mut rows = conntrack::rows(live, &names)?;
            if let Some(service) = &args.service {
                rows.retain(|row| of_service(&row.service, service));
            }
            out.rows(rows)?;
        }
        Subject::Endpoints => out.rows(endpoints::rows(live, &names)?)?,
        Subject::Affinity => out.rows(affinity::rows(live, &names)?)?,
        Subject::Services => {
            let mut rows = services::rows(&ServiceTables::from(live), &names.services)?;
            if let Some(service) = &args.service {
                rows.retain(|row| of_service(&row.service, service));
            }
            out.rows(rows)?;
        }
        Subject::Backends => {
            let mut rows = backends::rows(&ServiceTables::from(live), &names.services)?;
            if let Some(service) = &args.service {
                rows.retain(|row| row.services.iter().any(|port| of_service(port, service)));
            }
            out.rows(rows)?;
        }
        subject => {
            return Err(CtlError::new(
                Exit::Failed,
                format!("dump {subject:?}: not there yet"),
            ));
        }
    }
    Ok(Exit::Ok)
}

/// Whether a Service port (`namespace/name:port`) belongs to a Service (`namespace/name`).
fn of_service(port: &str, service: &str) -> bool {
    port == service
        || port
            .strip_prefix(service)
            .is_some_and(|rest| rest.starts_with(':'))
}
