//! From a process to a verb and back: one JSON document on stdout, at most.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    protocol::{
        config::Config,
        env::{Call, Verb},
        error::Error,
    },
    talk::say,
    verbs::{self, Context},
};

/// Which plugin the program was called as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// Weir.
    Weir,
    /// `loopback`.
    Loopback,
}

/// Runs the call that environment and stdin describe.
pub fn main(plugin: Plugin) -> ExitCode {
    let call = match Call::parse(|name| std::env::var(name).ok()) {
        Ok(Some(call)) => call,
        Ok(None) => {
            say(format_args!(
                "CNI plugin {}: run by a container runtime, with CNI_COMMAND set",
                env!("CARGO_PKG_VERSION")
            ));
            return ExitCode::SUCCESS;
        }
        Err(e) => return refuse(&e, None),
    };
    if call.verb == Verb::Version {
        return answer(&verbs::version::run());
    }
    let config = match Config::read(&mut io::stdin().lock()) {
        Ok(config) => config,
        Err(e) => return refuse(&e, None),
    };
    let asked = config.cni_version.clone();
    match config
        .validate(call.verb)
        .and_then(|version| run(plugin, &Context::new(call, config, version)))
    {
        Ok(document) => answer(&document),
        Err(e) => refuse(&e, asked.as_deref()),
    }
}

fn run(plugin: Plugin, context: &Context) -> Result<String, Error> {
    if plugin == Plugin::Loopback {
        return verbs::loopback::run(context);
    }
    match context.call.verb {
        Verb::Add => verbs::add::run(context),
        Verb::Del => Ok(verbs::del::run(context)),
        Verb::Check => verbs::check::run(context),
        Verb::Gc => verbs::gc::run(context),
        Verb::Status => verbs::status::run(context),
        Verb::Version => Ok(verbs::version::run()),
    }
}

fn answer(document: &str) -> ExitCode {
    if document.is_empty() {
        return ExitCode::SUCCESS;
    }
    match writeln!(io::stdout(), "{document}") {
        Ok(()) => ExitCode::SUCCESS,
        // The runtime is gone; it will call DEL when it is back.
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(error: &Error, version: Option<&str>) -> ExitCode {
    answer(&error.to_json(version));
    ExitCode::FAILURE
}
