//! `proxyctl policy why FROM TO PORT[/PROTO]`: which rule lets a new flow pass or not, by the live maps. A flow to a
//! Service is judged behind it, at each backend, as the programs judge it.

pub mod answer;
mod judge;
pub mod judged;
mod nodes;
mod target;

use std::net::{IpAddr, SocketAddr};

use self::{
    answer::{Path, Served, Verdict, Why},
    judge::Judge,
    target::Target,
};
use super::{
    Context, CtlError, Exit,
    args::WhyArgs,
    live,
    lookup::{self, Asked},
    output::Output,
    place,
    render::words::named,
    whereabouts::Whereabouts,
};
use crate::{
    api::messages::Names,
    datapath::{Maps, TableError},
    policy::PolicyTables,
};

/// Answers; the exit code says the verdict.
pub async fn run(context: &Context, args: &WhyArgs, out: &mut Output) -> Result<Exit, CtlError> {
    let why = if context.common.cluster.all_nodes {
        nodes::ask(&context.common, args).await?
    } else {
        here(context, args).await?
    };
    out.object("PolicyWhy", &why, |to| answer::write(&why, to))?;
    Ok(why.verdict.exit())
}

/// What this node has to say.
async fn here(context: &Context, args: &WhyArgs) -> Result<Why, CtlError> {
    let (port, protocol) = place::port(&args.port)?;
    let reader = live::reader(context)?;
    let names = live::names(context, false).await;
    let maps = reader.maps();
    let from = place::addresses(&args.from, &names)?;
    let target = Target::of(&args.to, (port, protocol), maps, &names)?;
    let (client, to) = place::pair(&from, &target.addresses).ok_or_else(|| {
        CtlError::new(
            Exit::Usage,
            format!(
                "`{}` and `{}` have no addresses of one family",
                args.from, args.to
            ),
            "name two addresses of one family, or a pod that has both",
        )
    })?;
    let asked = Asked {
        client,
        to: (to, port).into(),
        protocol,
    };
    let tables = PolicyTables::from(maps);
    let judge = Judge::new(maps, &names, &tables)?;
    let mut why = answer(&judge, &asked, target.name)?;
    let behind = why.paths.iter().map(|path| path.destination.ip());
    let met: Vec<IpAddr> = behind.chain([client]).collect();
    live::warn_of_cut_off(&names, met.iter().copied());
    place::warn_of_taken(maps, &names, met)?;
    if why.undecided().next().is_some() {
        name_nodes(&mut why, &Whereabouts::ask(context).await, &names);
    }
    Ok(why)
}

/// Names the nodes to which sides are left.
fn name_nodes(why: &mut Why, whereabouts: &Whereabouts, names: &Names) {
    let steps = why.paths.iter_mut().flat_map(|path| &mut path.steps);
    for step in steps.filter(|step| step.verdict == Verdict::Undecided) {
        if let Some(node) = whereabouts.node(names, step.address) {
            step.because = format!("a pod of node {node}, which decides");
            step.left_to = Some(node.to_owned());
        }
    }
}

fn answer(judge: &Judge<'_>, asked: &Asked, name: Option<String>) -> Result<Why, CtlError> {
    let frontend = lookup::frontend(judge.maps, asked)?;
    let (mut service, mut because, mut outside) = (None, None, None);
    let backends = match frontend {
        None => vec![asked.to],
        Some((key, frontend)) => {
            let inside = is_inside(judge.maps, judge.names, asked)?;
            let (set, backends, drops) = lookup::set(&frontend, inside);
            service = Some(Served {
                service: named(&judge.names.services, frontend.service),
                frontend: key.to_string(),
                set: set.to_owned(),
            });
            outside = (!inside).then_some((frontend, backends));
            let ranges = lookup::ranges(judge.maps, judge.names, &frontend, asked.client)?;
            because = if ranges.is_some_and(|ranges| ranges.has.is_none()) {
                Some(NOT_ASKED.to_owned())
            } else if backends.count == 0 {
                Some(no_backend(drops).to_owned())
            } else {
                None
            };
            let found = match because {
                Some(_) => Vec::new(),
                None => lookup::backends(judge.maps, backends.id, backends.count)?,
            };
            found.into_iter().map(|(_, backend)| backend).collect()
        }
    };
    let path = |to: SocketAddr| {
        let judged = match &outside {
            Some((frontend, set)) => {
                judged::of(judge.maps, (frontend, set), asked.client, to.ip())?
            }
            None => None,
        };
        judge.path(&Asked { to, ..*asked }, judged)
    };
    let paths = backends.into_iter().map(path);
    let paths = paths.collect::<Result<Vec<Path>, CtlError>>()?;
    let described = place::describe(judge.names, asked.to.ip());
    let mut why = Why {
        from: place::describe(judge.names, asked.client),
        client: asked.client,
        to: name.unwrap_or(described),
        port: format!("{}/{}", asked.to.port(), asked.protocol),
        service,
        because,
        paths,
        ..Why::default()
    };
    why.decide();
    Ok(why)
}

/// The client is not one of those that a load balancer's address serves.
const NOT_ASKED: &str = "the client is in none of the Service's loadBalancerSourceRanges: dropped before any policy (source-range)";

const fn no_backend(drops: bool) -> &'static str {
    if drops {
        "no endpoint on this node, and the traffic policy is Local: dropped before any policy"
    } else {
        "the Service has no usable endpoint: refused before any policy"
    }
}

/// Whether a client is of this cluster, which decides by which set it is served.
fn is_inside(maps: &Maps, names: &Names, asked: &Asked) -> Result<bool, TableError> {
    Ok(place::endpoint(maps, asked.client)?.is_some()
        || place::node_flags(maps, asked.client)? != 0
        || names.addresses.contains_key(&asked.client))
}

impl Verdict {
    /// The exit code; scripts rely on 0 for nothing but a flow that passes.
    const fn exit(self) -> Exit {
        match self {
            Self::Allowed => Exit::Ok,
            Self::Denied | Self::Partly => Exit::Failed,
            Self::Undecided => Exit::Undecided,
        }
    }
}
