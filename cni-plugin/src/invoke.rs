//! From a process to a verb and back: one JSON document on stdout, at most.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use crate::{
    protocol::{
        config::{self, Config},
        env::{Call, Verb},
        error::Error,
        version::Version,
    },
    talk::{self, say},
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
    let began = Instant::now();
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
    let config = match configuration(call.verb) {
        Ok(config) => config,
        Err(e) => return refuse(&e, None),
    };
    if plugin == Plugin::Weir {
        talk::log_for(&verbs::paths(&config), &call);
    }
    let asked = config.cni_version.clone();
    let verb = call.verb;
    let version = match config.validate(verb) {
        // Whatever is wrong with the configuration, the key is in the environment: the container goes.
        Err(e) if verb == Verb::Del => {
            say(format_args!("DEL goes on all the same: {e}"));
            Ok(Version::NEWEST)
        }
        version => version,
    };
    match version.and_then(|version| run(plugin, &Context::new(call, config, version, began))) {
        Ok(document) => answer(&document),
        Err(e) => {
            // Runtimes ask for the status every few seconds.
            if verb != Verb::Status {
                talk::note(&e);
            }
            refuse(&e, asked.as_deref())
        }
    }
}

/// What is on stdin. DEL goes on with what can be read of it.
fn configuration(verb: Verb) -> Result<Config, Error> {
    let text = match config::read(&mut io::stdin().lock()) {
        Err(_) if verb == Verb::Del => Vec::new(),
        text => text?,
    };
    match Config::decode(&text) {
        Err(_) if verb == Verb::Del => Ok(Config::of_undecodable(&text)),
        config => config,
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
