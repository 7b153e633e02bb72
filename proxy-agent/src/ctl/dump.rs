//! `proxyctl dump SUBJECT`: the live maps in words.

use std::collections::BTreeMap;

use cni_plugin::wiring::{
    netlink::Netlink,
    qdisc::{self, Root},
};

use super::{
    Context, CtlError, Exit, addresses,
    args::{DumpArgs, Subject},
    inside, live,
    output::Output,
    render::{affinity, conntrack, endpoints, maps, policy},
    tunnels, watch,
};
use crate::{
    api::messages::Status,
    datapath::Pins,
    service::{
        ServiceTables,
        render::{backends, maglev, services, sources},
    },
};

/// Prints one subject.
pub async fn run(context: &Context, args: &DumpArgs, out: &mut Output) -> Result<Exit, CtlError> {
    if args.watch && args.subject != Subject::Conntrack {
        return Err(CtlError::new(
            Exit::Usage,
            "only conntrack can be watched",
            "try: proxyctl dump conntrack --watch",
        ));
    }
    if args.subject == Subject::Addresses {
        let status: Status = context.client.get("/v1/status").await?;
        out.rows(addresses::rows(
            status.load_balancers,
            args.service.as_ref(),
        ))?;
        return Ok(Exit::Ok);
    }
    let reader = live::reader(context)?;
    let live = reader.maps();
    if args.watch {
        return watch::run(context, args, live, out).await;
    }
    // Maps have no names that only the agent knows.
    let names = live::names(context, args.raw || args.subject == Subject::Maps).await;
    let wanted = |port: &str| {
        args.service
            .as_ref()
            .is_none_or(|service| of_service(port, service))
    };
    match args.subject {
        Subject::Services => {
            let mut rows = services::rows(&ServiceTables::from(live), &names.services)?;
            rows.retain(|row| wanted(&row.service));
            out.rows(rows)?;
        }
        Subject::Backends => {
            let mut rows = backends::rows(&ServiceTables::from(live), &names.services)?;
            rows.retain(|row| {
                args.service.is_none() || row.services.iter().any(|port| wanted(port))
            });
            out.rows(rows)?;
        }
        Subject::Conntrack => {
            let mut rows = conntrack::rows(live, &names);
            rows.retain(|row| wanted(&row.service) && (args.all || !row.is_over()));
            out.rows(rows)?;
        }
        Subject::Affinity => {
            let mut rows = affinity::rows(live, &names)?;
            rows.retain(|row| wanted(&row.service));
            out.rows(rows)?;
        }
        Subject::Maglev => {
            let mut rows = maglev::rows(&ServiceTables::from(live), &names.services)?;
            rows.retain(|row| wanted(&row.service));
            out.rows(rows)?;
        }
        Subject::Sources => {
            let mut rows = sources::rows(&ServiceTables::from(live), &names.services)?;
            rows.retain(|row| wanted(&row.service));
            out.rows(rows)?;
        }
        Subject::Endpoints => out.rows(endpoints::rows(live, &names, &roots()?)?)?,
        Subject::Inside => out.rows(inside::rows(live, &names)?)?,
        Subject::Tunnels => out.rows(tunnels::rows(live, &names)?)?,
        // The agent has told them.
        Subject::Addresses => {}
        Subject::Policy => out.rows(policy::rows(live, &names)?)?,
        Subject::Maps => {
            let pins = Pins::new(&context.common.bpffs, &context.common.instance)?;
            out.rows(maps::rows(live, &pins)?)?;
        }
    }
    Ok(Exit::Ok)
}

/// What limits the bandwidth of pods.
fn roots() -> Result<BTreeMap<u32, Root>, CtlError> {
    let roots = Netlink::open().and_then(|mut netlink| qdisc::roots(&mut netlink));
    roots.map_err(|error| {
        CtlError::new(
            Exit::Failed,
            format!("list queueing disciplines: {error}"),
            "run it as root in the network namespace of the node",
        )
    })
}

/// Whether a Service port (`namespace/name:port`) belongs to a Service (`namespace/name`).
pub(super) fn of_service(port: &str, service: &str) -> bool {
    port == service
        || port
            .strip_prefix(service)
            .is_some_and(|rest| rest.starts_with(':'))
}
