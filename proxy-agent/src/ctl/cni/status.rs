//! `proxyctl cni status`: whether the plugin is installed, and can serve an ADD.

use cni_plugin::{heartbeat::AWAY, ipam::Usage, paths::Paths, verbs::status::SILENCE};
use serde::Serialize;

use super::{facts::Facts, list::unread};
use crate::{
    config::Cni,
    ctl::{
        Context, CtlError, Exit,
        args::{CheckArgs, CniStatusArgs},
        check::{
            Category, Complaint, Fault, Report, Topic, Verdict, others, plugin, print,
            scene::configuration,
        },
        output::Output,
    },
};

/// What programs get.
#[derive(Debug, Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    facts: &'a Facts,
    #[serde(flatten)]
    report: &'a Report,
}

/// Looks, and prints it.
pub(super) async fn run(
    context: &Context,
    args: &CniStatusArgs,
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let asked = CheckArgs {
        config: args.config.clone(),
        ..CheckArgs::default()
    };
    let (config, _, wrong) = configuration(context, &asked, true).await;
    if let Some(wrong) = wrong {
        let hint = "name the agent's file: --config FILE; else `proxy-agent config print` says what is wrong with it";
        return Err(CtlError::new(Exit::Failed, wrong, hint));
    }
    let facts = Facts::look(&config.cni, &Paths::new(&context.common.run_dir));
    let report = Report::of(false, judge(&config.cni, &facts).into_iter());
    let status = Status {
        facts: &facts,
        report: &report,
    };
    out.object("CniStatus", &status, |to| print::write(&report, to))?;
    Ok(report.exit(args.fail_on_warning))
}

const fn topic(name: &'static str, category: Category) -> Topic {
    Topic { name, category }
}

fn judge(cni: &Cni, facts: &Facts) -> Vec<(Topic, Verdict)> {
    let elsewhere = || Verdict::unknown("not looked at: cni.install is off");
    let of = |look: &dyn Fn() -> Verdict| if cni.install { look() } else { elsewhere() };
    vec![
        (
            topic("installed", Category::Plugin),
            of(&|| plugin::judge(cni)),
        ),
        (
            topic("version", Category::Plugin),
            of(&|| version(&facts.version)),
        ),
        (
            topic("first", Category::Plugin),
            of(&|| others::preferred(cni)),
        ),
        (topic("attachments", Category::Plugin), attachments(facts)),
        (topic("addresses", Category::Plugin), pools(facts)),
        (topic("node.json", Category::Agent), node(facts)),
        (topic("heartbeat", Category::Agent), heartbeat(facts)),
    ]
}

fn version(version: &Result<String, String>) -> Verdict {
    match version {
        Ok(version) => Verdict::fine(format!("v{version}")),
        Err(error) => {
            let hint = "the agent puts its own in its place within seconds: is the folder on a mount with noexec?";
            Complaint::error(Fault::PluginBroken, error, hint).into()
        }
    }
}

fn attachments(facts: &Facts) -> Verdict {
    let hint = "the pods go on; what only the record says is lost: make the pods anew";
    let found = match &facts.attachments {
        Ok(found) => found,
        Err(error) => return Complaint::error(Fault::RecordUnread, error, hint).into(),
    };
    let text = format!("{} ready, {} being made", found.ready, found.creating);
    let unread = (!found.unread.is_empty())
        .then(|| Complaint::warning(Fault::RecordUnread, unread(&found.unread), hint));
    Verdict::of(text, unread)
}

fn pools(facts: &Facts) -> Verdict {
    let pools = match &facts.pools {
        Ok(pools) => pools,
        // Without the file of the node there are no ranges, and that is told.
        Err(_) if facts.node.is_err() => return Verdict::unknown("not known"),
        Err(error) => {
            let hint =
                "only root may read the file; an ADD that cannot says so in `proxyctl cni log`";
            return Complaint::error(Fault::NoAddressLeft, error, hint).into();
        }
    };
    let texts: Vec<String> = pools.iter().map(in_words).collect();
    let empty = pools.iter().filter(|pool| pool.free == 0);
    let empty = empty.map(|pool| {
        let hint =
            "`proxyctl cni list` shows who has them; the node needs a wider range, or fewer pods";
        Complaint::error(Fault::NoAddressLeft, in_words(pool), hint)
    });
    Verdict::of(texts.join("; "), empty)
}

fn in_words(pool: &Usage) -> String {
    let Usage {
        range,
        all,
        used,
        resting,
        free,
    } = pool;
    let family = if range.is_ipv4() { 4 } else { 6 };
    let resting = match resting {
        0 => String::new(),
        resting => format!(", {resting} resting"),
    };
    format!("IPv{family} {range}: {used} of {all} used, {free} free{resting}")
}

fn node(facts: &Facts) -> Verdict {
    match &facts.node {
        Ok(node) => Verdict::fine(format!(
            "of node {} by process {}, MTU {}",
            node.node, node.agent_pid, node.mtu
        )),
        Err(error) => {
            let hint =
                "the agent writes it when it is ready: `proxyctl status` says what it waits for";
            Complaint::error(Fault::NodeFile, error, hint).into()
        }
    }
}

fn heartbeat(facts: &Facts) -> Verdict {
    let hint = "is the DaemonSet running on this node? its log says why it ended or hangs";
    let Some(silence) = facts.silence else {
        let text = "the agent has not shown that it lives since boot";
        return Complaint::error(Fault::AgentSilent, text, hint).into();
    };
    let text = format!("{} s ago", silence.as_secs());
    let long = format!("the agent has been silent for {} s", silence.as_secs());
    let complaint = if silence > SILENCE {
        Some(Complaint::error(Fault::AgentSilent, long, hint))
    } else if silence > AWAY {
        Some(Complaint::warning(Fault::AgentSilent, long, hint))
    } else {
        None
    };
    Verdict::of(text, complaint)
}

#[cfg(test)]
mod tests;
