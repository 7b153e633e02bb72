//! What the nodes of a failed test have to say, in a folder: of each test how the flow would be treated, of each node its state.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    ground::Real,
    plan::{Case, To},
    run::Done,
};
use crate::ctl::{CtlError, Exit};

/// What is asked of each node that takes part in a failed test, and the file that it goes to.
const OF_NODE: [(&str, &[&str]); 6] = [
    ("status.txt", &["status"]),
    ("conntrack.txt", &["dump", "conntrack", "--all"]),
    ("endpoints.txt", &["dump", "endpoints", "-o", "wide"]),
    ("services.txt", &["dump", "services", "-o", "wide"]),
    ("policy.txt", &["dump", "policy"]),
    // With metrics, which count drops by their reasons.
    ("sysdump.tar.gz", &["sysdump", "-"]),
];

/// Gathers it; the folder.
pub(super) async fn gather(
    real: &Real,
    done: &[Done],
    folder: Option<&Path>,
) -> Result<PathBuf, CtlError> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let folder = folder.map_or_else(
        || PathBuf::from(format!("weir-connectivity-{time}")),
        Path::to_path_buf,
    );
    let failed: Vec<&Done> = done.iter().filter(|done| done.failure.is_some()).collect();
    for one in &failed {
        let name = one.case.name.replace('/', "_");
        let text = of_test(real, one).await;
        keep(&folder, &format!("{name}.txt"), text.as_bytes())?;
    }
    let nodes: BTreeSet<usize> = failed.iter().flat_map(|one| one.case.nodes()).collect();
    for node in nodes {
        let of_node = folder.join(&real.agents[node].node);
        for (file, words) in OF_NODE {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            keep(&of_node, file, &said(real, node, &words).await)?;
        }
    }
    Ok(folder)
}

/// Why a test failed, and what its nodes would do with such a flow.
async fn of_test(real: &Real, done: &Done) -> String {
    let failure = done.failure.as_deref().unwrap_or_default();
    let mut text = format!("{}\n{failure}\n", done.case.name);
    for words in questions(real, &done.case) {
        for node in done.case.nodes() {
            let said = said(real, node, &words).await;
            let name = &real.agents[node].node;
            let line = words.join(" ");
            let said = String::from_utf8_lossy(&said);
            text.extend(["\nnode ", name, ": proxyctl ", &line, "\n", &said]);
        }
    }
    text
}

/// What is asked about a test's flow.
fn questions(real: &Real, case: &Case) -> Vec<Vec<String>> {
    let target = real.target(case).ok();
    let address = target.and_then(|target| target.parse::<std::net::SocketAddr>().ok());
    let Some((from, to)) = real.source(case).zip(address) else {
        return Vec::new();
    };
    let protocol = if case.udp { "udp" } else { "tcp" };
    let words = |words: [&str; 2], rest: &[String]| -> Vec<String> {
        words
            .map(str::to_owned)
            .into_iter()
            .chain(rest.iter().cloned())
            .collect()
    };
    let port = format!("{}/{protocol}", to.port());
    let mut all = vec![words(
        ["policy", "why"],
        &[from.to_string(), to.ip().to_string(), port],
    )];
    if matches!(case.to, To::Service(_) | To::NodePort(_)) {
        let rest = [from.to_string(), format!("{to}/{protocol}")];
        all.push(words(["service", "trace"], &rest));
    }
    all
}

/// What a node's `proxyctl` says on both streams; why it says nothing, if so.
async fn said(real: &Real, node: usize, words: &[String]) -> Vec<u8> {
    match real.cluster.proxyctl(&real.agents[node], words).await {
        Ok(said) if said.out.starts_with(&[0x1f, 0x8b]) => said.out,
        Ok(said) => [said.out, said.told.into_bytes()].concat(),
        Err(error) => format!("error: {}\nhint: {}\n", error.message, error.hint).into_bytes(),
    }
}

fn keep(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), CtlError> {
    let path = folder.join(name);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
    written.map_err(|error| {
        CtlError::new(
            Exit::Failed,
            format!("write {}: {error}", path.display()),
            "name a folder that can be written by --dump",
        )
    })
}
