//! A verb on every node: the answers one after the other under the names of the nodes, or as one object for programs. A node
//! that cannot be asked does not keep the others from being asked.

use std::io::Write as _;

use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;

use super::{Agent, Remote, Said, file, skew};
use crate::ctl::{
    CtlError, Exit,
    args::SysdumpArgs,
    live,
    output::{Format, Output},
};

/// So many nodes are asked at once.
const AT_ONCE: usize = 8;

/// What a node said, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    node: String,
    exit_code: u8,
    /// What the verb prints; text where it prints no object.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    /// Why the node was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What all of them said.
#[derive(Debug, Serialize)]
struct Answers {
    items: Vec<Answer>,
}

/// What became of a node.
struct Asked {
    agent: Agent,
    said: Result<Said, CtlError>,
    skew: Option<String>,
}

/// Runs it; the exit code is the highest.
pub(super) async fn run(
    remote: &Remote,
    agents: Vec<Agent>,
    watches: bool,
    out: &mut Output,
) -> Result<u8, CtlError> {
    refuse(remote, watches)?;
    let asked = stream::iter(agents).map(|agent| ask(remote, agent));
    let mut asked = asked.buffered(AT_ONCE);
    let (mut worst, mut answers) = (Exit::Ok as u8, Vec::new());
    while let Some(one) = asked.next().await {
        let code = if is_for_programs(out.format) && remote.dump.is_none() {
            let answer = Answer::of(one, out.format);
            let code = answer.exit_code;
            answers.push(answer);
            code
        } else {
            print(remote, one, out)?
        };
        worst = worst.max(code);
    }
    if !answers.is_empty() {
        let answers = Answers { items: answers };
        out.object("NodeAnswerList", &answers, |_| Ok(()))?;
    }
    Ok(worst)
}

/// What has no end, or one place only, is for one node.
fn refuse(remote: &Remote, watches: bool) -> Result<(), CtlError> {
    let into_one_file = remote.dump.as_ref().is_some_and(|args| args.file.is_some());
    let (what, hint) = match (watches, into_one_file, remote.stdin) {
        (true, _, _) => ("--watch", "name one node by --node"),
        (_, true, _) => (
            "FILE",
            "leave it out: each node gets a file of its own here",
        ),
        (_, _, true) => ("--stdin", "name one node by --node"),
        _ => return Ok(()),
    };
    let message = format!("{what} does not go with --all-nodes");
    Err(CtlError::new(Exit::Usage, message, hint))
}

async fn ask(remote: &Remote, agent: Agent) -> Asked {
    let (said, skew) = tokio::join!(remote.said(&agent), skew(&remote.cluster, &agent));
    Asked { agent, said, skew }
}

const fn is_for_programs(format: Format) -> bool {
    matches!(format, Format::Json | Format::Yaml)
}

/// Tells on stderr what a node told there, each line with the node's name.
fn tell(asked: &Asked) {
    let node = &asked.agent.node;
    if let Some(skew) = &asked.skew {
        live::warning(&format!("node {node}: {skew}"));
    }
    let lines = match &asked.said {
        Ok(said) => said.told.clone(),
        Err(error) => format!("error: {}\nhint: {}\n", error.message, error.hint),
    };
    let lines = lines.lines().map(|line| format!("{node}: {line}\n"));
    live::told(&lines.collect::<String>());
}

/// For a person; gives the exit code.
fn print(remote: &Remote, asked: Asked, out: &mut Output) -> Result<u8, CtlError> {
    if let Some(args) = &remote.dump {
        return dump(args, asked, out);
    }
    tell(&asked);
    let said = match asked.said {
        Ok(said) => said,
        Err(error) => return Ok(error.exit as u8),
    };
    writeln!(out, "==> {} <==", asked.agent.node)?;
    out.write_all(&said.out)?;
    if !said.out.is_empty() && !said.out.ends_with(b"\n") {
        writeln!(out)?;
    }
    // Nodes come as they answer.
    out.flush()?;
    Ok(said.code)
}

fn dump(args: &SysdumpArgs, asked: Asked, out: &mut Output) -> Result<u8, CtlError> {
    tell(&asked);
    match asked.said {
        Err(error) => Ok(error.exit as u8),
        Ok(mut said) => {
            // Told already.
            said.told.clear();
            file::keep(args, &asked.agent, &said, out)
        }
    }
}

impl Answer {
    fn of(asked: Asked, format: Format) -> Self {
        tell(&asked);
        let node = asked.agent.node;
        match asked.said {
            Ok(said) => Self {
                node,
                exit_code: said.code,
                output: Some(value(&said.out, format)),
                error: None,
            },
            Err(error) => Self {
                node,
                exit_code: error.exit as u8,
                output: None,
                error: Some(error.message),
            },
        }
    }
}

/// What a verb prints in a format for programs.
fn value(printed: &[u8], format: Format) -> Value {
    let text = String::from_utf8_lossy(printed);
    let read = match format {
        Format::Yaml => serde_saphyr::from_str(&text).ok(),
        _ => serde_json::from_str(&text).ok(),
    };
    read.unwrap_or_else(|| Value::String(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Format, value};

    #[test]
    fn objects_stay_objects_and_text_stays_text() {
        let same = json!({ "kind": "Status", "items": [1] });
        assert_eq!(value(same.to_string().as_bytes(), Format::Json), same);
        let yaml = b"kind: Status\nitems:\n- 1\n";
        assert_eq!(value(yaml, Format::Yaml), same);
        let text = "in words: [\n";
        assert_eq!(value(text.as_bytes(), Format::Json), Value::from(text));
    }
}
