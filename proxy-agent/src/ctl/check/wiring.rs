//! What plugin and agent share on this node: whether an ADD can be served.

mod facts;

use cni_plugin::{attachment::Broken, heartbeat::AWAY, ipam::Usage, verbs::status::SILENCE};

use super::{Complaint, Fault, Verdict, scene::Scene};
pub(in crate::ctl) use facts::{
    Facts, Folder, gone as gone_interfaces, in_words as record_in_words, lost as lost_records,
};

/// A look at what is shared, where the plugin is the agent's.
pub(super) fn of(scene: &Scene, look: fn(&Facts) -> Verdict) -> Verdict {
    match &scene.wiring {
        Some(facts) => look(facts),
        None => Verdict::unknown("not looked at: cni.install is off"),
    }
}

/// Whether the plugin is there and does not run.
pub(in crate::ctl) fn is_broken(facts: &Facts) -> bool {
    facts.version.is_err() && facts.plugin.exists()
}

/// Whether the plugin can be run.
pub(in crate::ctl) fn version(facts: &Facts) -> Verdict {
    match &facts.version {
        Ok(version) => Verdict::fine(format!("v{version}")),
        Err(_) if !facts.plugin.exists() => Verdict::unknown("not there"),
        Err(error) => {
            let hint = "the agent puts its own in its place within seconds: is the folder on a mount with noexec?";
            Complaint::error(Fault::PluginBroken, error, hint).into()
        }
    }
}

/// Whether the records of interfaces can be read.
pub(in crate::ctl) fn attachments(facts: &Facts) -> Verdict {
    let hint = LOST_HINT;
    let found = match &facts.attachments {
        Ok(found) => found,
        Err(error) => return Complaint::error(Fault::RecordUnread, error, hint).into(),
    };
    let text = format!("{} ready, {} being made", found.ready, found.creating);
    let unread = (!found.unread.is_empty())
        .then(|| Complaint::warning(Fault::RecordUnread, unread(&found.unread), hint));
    let lost = (!found.lost.is_empty())
        .then(|| Complaint::warning(Fault::RecordLost, lost(&found.lost), LOST_HINT));
    let gone = (!found.gone.is_empty())
        .then(|| Complaint::error(Fault::InterfaceGone, gone(&found.gone), GONE_HINT));
    Verdict::of(text, unread.into_iter().chain(lost).chain(gone))
}

/// What to do about pods without an interface.
pub(in crate::ctl) const GONE_HINT: &str = "they run without a network: delete them, which makes them anew, and find what removes interfaces that it has not made";

/// Which pods have a record, but no interface.
pub(in crate::ctl) fn gone(pods: &[String]) -> String {
    format!("the interfaces of these pods are gone: {}", pods.join(", "))
}

/// What to do about pods without a record.
pub(in crate::ctl) const LOST_HINT: &str = "their traffic goes on; an agent that runs writes the records again within 10 s: `proxyctl status` says what it could not";

/// Which pods have an interface, but no record.
pub(in crate::ctl) fn lost(pods: &[String]) -> String {
    format!(
        "no record of {}, whose interfaces are there",
        pods.join(", ")
    )
}

/// Whether the folder that is shared is there, and can be used.
pub(in crate::ctl) fn folder(facts: &Facts) -> Verdict {
    let path = facts.folder.0.display();
    match facts.folder.1 {
        Folder::There => Verdict::fine(path.to_string()),
        Folder::Absent => {
            let hint = "an agent that runs makes it again, with what belongs there, within 10 s: does it run?";
            Complaint::error(
                Fault::RunFolderGone,
                format!("runDir {path} is not there"),
                hint,
            )
            .into()
        }
        Folder::Removed => {
            let text = format!(
                "runDir {path} was removed from the node while it is mounted here: agent and plugin do not meet, and no pod can be made"
            );
            let hint = "the agent's container must be made anew: kubelet does so within a minute or two, as /livez fails; else delete the agent's pod";
            Complaint::error(Fault::RunFolderGone, text, hint).into()
        }
    }
}

/// Whether there are addresses for more pods.
pub(in crate::ctl) fn pools(facts: &Facts) -> Verdict {
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

/// Whether the plugin knows the node.
pub(in crate::ctl) fn node(facts: &Facts) -> Verdict {
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

/// Whether the agent shows the plugin that it lives.
pub(in crate::ctl) fn heartbeat(facts: &Facts) -> Verdict {
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

/// Which files cannot be read, and why.
pub(in crate::ctl) fn unread(broken: &Broken) -> String {
    let files = broken.iter();
    let mut files: Vec<String> = files
        .map(|(path, error)| format!("read {}: {error}", path.display()))
        .collect();
    files.sort();
    files.join("; ")
}

#[cfg(test)]
mod tests;
