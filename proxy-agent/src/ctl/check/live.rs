//! Programs and maps, without the agent.

use proxy_common::{
    host::HOST_DEVICE,
    tunnel::{ENCRYPTION_DEVICE, TUNNEL_DEVICE},
};

use super::{Complaint, Fault, Verdict, scene::Scene};
use crate::{
    ctl::{CtlError, live},
    datapath::{Attachment, Datapath, DatapathError, Hook, Reader},
    node::links::programs::hooks,
};

/// What is told where there are no maps.
const NONE: &str = "not known: there are no maps";

/// The context by what the configuration says, which may differ from the flags.
fn reader(scene: &Scene) -> Result<Reader, CtlError> {
    let mut context = scene.context.clone();
    context.common.bpffs.clone_from(&scene.here.bpffs);
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
        reader.missing_sockets(&scene.here.cgroup_root)
    } else {
        Ok(Vec::new())
    };
    let places = places(scene).into_iter().map(|(link, index, hooks)| {
        let missing = reader.missing(index, hooks);
        (link, missing)
    });
    let root = scene.here.cgroup_root.display().to_string();
    judge(&root, sockets, places.collect(), reader.attachments())
}

/// Interfaces with the programs that they should have, but for pods', which are the agent's to tell.
fn places(scene: &Scene) -> Vec<(String, u32, &'static [Hook])> {
    let Ok(facts) = &scene.facts else {
        return Vec::new();
    };
    let desired = scene.desired();
    let links = desired
        .iter()
        .flat_map(|desired| desired.links.chosen.values());
    let links = links.map(|link| (link.name.clone(), link.index, hooks(link.header)));
    let ours = facts.interfaces.iter().filter_map(|interface| {
        let hooks: &'static [Hook] = match interface.name.as_str() {
            "lo" => &[Hook::FromLo],
            HOST_DEVICE => &[Hook::FromHost],
            TUNNEL_DEVICE => &Datapath::TUNNEL,
            ENCRYPTION_DEVICE => &Datapath::BARE_LINK,
            _ => return None,
        };
        Some((interface.name.clone(), interface.index, hooks))
    });
    links.chain(ours).collect()
}

/// What is missing, or why nobody knows.
type Missing = Result<Vec<&'static str>, DatapathError>;

fn judge(
    root: &str,
    sockets: Missing,
    places: Vec<(String, Missing)>,
    all: Result<Vec<Attachment>, DatapathError>,
) -> Verdict {
    let hint = "the agent attaches them again within seconds; where it does not, its log says why";
    let fault = Fault::ProgramsDetached;
    let unread = |error: &DatapathError| Complaint::error(fault, error.to_string(), error.hint());
    let mut complaints = Vec::new();
    match sockets {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => {
            let text = format!(
                "the cgroup {root} has no {}: processes of this node do not reach Services",
                missing.join(", ")
            );
            let hint =
                format!("is it the agent's hierarchy? else say --set cgroupRoot=...; {hint}");
            complaints.push(Complaint::error(fault, text, hint));
        }
        Err(error) => complaints.push(unread(&error)),
    }
    for (link, missing) in places {
        match missing {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => {
                let text = format!("link {link} has no program {}", missing.join(", "));
                complaints.push(Complaint::error(fault, text, hint));
            }
            Err(error) => complaints.push(unread(&error)),
        }
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
        let on = |missing| vec![("eth0".to_owned(), Ok(missing))];
        assert_eq!(judge("/c", Ok(vec![]), on(vec![]), none()).complaints, []);
        let found = judge("/c", Ok(vec!["connect4"]), on(vec!["to_net"]), none()).complaints;
        let texts: Vec<&str> = found.iter().map(|c| c.text.as_str()).collect();
        let host = "the cgroup /c has no connect4: processes of this node do not reach Services";
        assert_eq!(texts, [host, "link eth0 has no program to_net"]);
        assert_eq!(found[0].fault, Fault::ProgramsDetached);
        assert_eq!(judge_drift(&[]).complaints, []);
        let found = judge_drift(&["+ frontend".to_owned()]).complaints;
        assert_eq!(found[0].fault, Fault::MapsDiffer);
    }
}
