//! Programs and maps, without the agent.

use super::{Complaint, Fault, Verdict, scene::Scene};
use crate::{
    ctl::{CtlError, live},
    datapath::{Attachment, DatapathError, Reader},
};

/// What is told where there are no maps.
const NONE: &str = "not known: there are no maps";

/// The context by what the configuration says, which may differ from the flags.
fn reader(scene: &Scene) -> Result<Reader, CtlError> {
    let mut context = scene.context.clone();
    context.common.bpffs.clone_from(&scene.config.bpffs);
    context.common.instance.clone_from(&scene.config.instance);
    live::reader(&context)
}

/// Whether there are maps of this version.
pub(super) fn maps(scene: &Scene) -> Verdict {
    match reader(scene) {
        Ok(reader) => {
            let usage = reader.maps().usage().map(|maps| maps.len());
            Verdict::fine(format!("{} maps", usage.unwrap_or_default()))
        }
        Err(error) => Complaint::error(Fault::NoMaps, error.message, error.hint).into(),
    }
}

/// Whether programs are where they should be.
pub(super) fn attachments(scene: &Scene) -> Verdict {
    let Ok(reader) = reader(scene) else {
        return Verdict::unknown(NONE);
    };
    let sockets = if scene.config.socket_balancing {
        reader.has_sockets(&scene.config.cgroup_root)
    } else {
        Ok(true)
    };
    judge(sockets, reader.attachments())
}

fn judge(
    sockets: Result<bool, DatapathError>,
    all: Result<Vec<Attachment>, DatapathError>,
) -> Verdict {
    let hint = "the agent attaches them again within seconds; where it does not, its log says why";
    let unread = |error: &DatapathError| {
        Complaint::error(Fault::ProgramsDetached, error.to_string(), error.hint())
    };
    let mut complaints = Vec::new();
    match sockets {
        Ok(true) => {}
        Ok(false) => {
            let text = "socket programs are not attached to the cgroup: processes of this node do not reach Services";
            complaints.push(Complaint::error(Fault::ProgramsDetached, text, hint));
        }
        Err(error) => complaints.push(unread(&error)),
    }
    let text = match all {
        Ok(all) => {
            let dead = all.iter().filter(|a| a.target == 0).count();
            format!(
                "{} links, of which {dead} are of devices that are gone",
                all.len()
            )
        }
        Err(error) => {
            complaints.push(unread(&error));
            String::new()
        }
    };
    Verdict::of(text, complaints)
}

/// Whether maps hold what they should.
pub(super) fn drift(scene: &Scene) -> Verdict {
    match &scene.differences {
        Some(differences) => judge_drift(differences),
        None => Verdict::unknown("not known: the agent does not answer"),
    }
}

fn judge_drift(differences: &[String]) -> Verdict {
    let Some(first) = differences.first() else {
        return Verdict::fine("maps hold what they should");
    };
    Complaint::warning(
        Fault::MapsDiffer,
        format!("{} entries of maps differ from what they should be, such as: {first}", differences.len()),
        "the agent sets them right within its fullPeriod (sync.fullPeriod); who else writes Weir's maps? `proxyctl diff` shows all",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_detached_or_differs_is_told() {
        let none = || Ok(Vec::new());
        assert_eq!(judge(Ok(true), none()).complaints, []);
        let found = judge(Ok(false), none()).complaints;
        assert_eq!(found[0].fault, Fault::ProgramsDetached);
        assert_eq!(judge_drift(&[]).complaints, []);
        let found = judge_drift(&["+ frontend".to_owned()]).complaints;
        assert_eq!(found[0].fault, Fault::MapsDiffer);
    }
}
