//! The CNI plugin; called as `loopback` it is that plugin.

use std::{path::Path, process::ExitCode};

use cni_plugin::invoke::{self, Plugin};

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    let plugin = match Path::new(&name).file_name() {
        Some(name) if name == "loopback" => Plugin::Loopback,
        _ => Plugin::Weir,
    };
    invoke::main(plugin)
}
