//! Who calls the plugins: a shell per pod that is on the node already.
//!
//! A runtime forks and executes, no more. To put a new process into a node's cgroup takes as long as a whole ADD (the kernel
//! waits for an RCU grace period), so that must not be part of what is measured.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use weir_world::{Node, Process};

use super::machine::Call;

/// Calls a plugin per line, and says its exit code.
const SCRIPT: &str = r#"
while read -r CNI_COMMAND CNI_PATH plugin config; do
    export CNI_COMMAND CNI_PATH
    "$plugin" < "$config" > "$1" 2>&1
    echo $?
done
"#;

/// The runtime of one pod.
pub(super) struct Runtime {
    node: Node,
    pod: String,
    output: String,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    _shell: Process,
}

impl Runtime {
    pub(super) fn start(node: &Node, pod: &str) -> Result<Self> {
        let output = format!("/run/bench-{pod}.out");
        let mut command = node.command("sh")?;
        command
            .args(["-c", SCRIPT, "sh", &output])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_CONTAINERID", pod)
            .env("CNI_NETNS", format!("/run/netns/{pod}"))
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut shell = Process::start(command)?;
        let pipes = shell.child();
        Ok(Self {
            node: node.clone(),
            pod: pod.to_owned(),
            output,
            questions: pipes.stdin.take().context("the shell has no stdin")?,
            answers: BufReader::new(pipes.stdout.take().context("the shell has no stdout")?),
            _shell: shell,
        })
    }

    pub(super) fn call(&mut self, call: &Call, verb: &str) -> Result<()> {
        let plugin = call.plugin.display();
        let folder = call.plugin.parent().context("the plugin has no folder")?;
        let line = format!("{verb} {} {plugin} {}\n", folder.display(), call.config);
        self.questions
            .write_all(line.as_bytes())
            .context("write to the shell")?;
        let mut code = String::new();
        self.answers
            .read_line(&mut code)
            .context("read from the shell")?;
        ensure!(
            code == "0\n",
            "{verb} of pod {} by {plugin}: {}",
            self.pod,
            self.node.run(&["cat", &self.output])?
        );
        Ok(())
    }
}
