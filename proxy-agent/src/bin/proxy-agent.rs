//! The agent: keeps the maps in the kernel in step with the Kubernetes API.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    proxy_agent::agent::command::main()
}
