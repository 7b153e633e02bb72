//! The agent: keeps the maps in the kernel in step with the Kubernetes API.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Reading a list takes a multiple of what stays of it, and the allocator of glibc cannot give back pages of
/// which a little is in use: a fifth more memory at 10 000 Services. Settings are in `.cargo/config.toml`.
#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    proxy_agent::agent::command::main()
}
