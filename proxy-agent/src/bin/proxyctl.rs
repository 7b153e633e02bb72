//! `proxyctl`: a person's window into the node.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ExitCode::from(proxy_agent::ctl::run(std::env::args_os()).await)
}
