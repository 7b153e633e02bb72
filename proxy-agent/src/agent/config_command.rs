//! `proxy-agent config ...`: prints, checks and describes the configuration. Starts nothing and needs no privileges.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};

use crate::config::{Effective, Flags, Origin, definition, load, reference};

/// What about the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Print what is in force with these flags, in this environment, and where each setting was told
    Print {
        /// Shape of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Say what is wrong with a file; exit code 2 if anything
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the JSON schema of the file
    Schema,
    /// Print the reference of all settings, as Markdown
    Reference,
}

/// Shape of what is printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// A file that the agent takes, with comments
    #[default]
    Yaml,
    /// One object, with the origins beside the configuration
    Json,
}

/// Does it.
pub(super) fn run(verb: &ConfigVerb, flags: &Flags) -> anyhow::Result<()> {
    let text = match verb {
        ConfigVerb::Print { output } => print(&load::load(flags)?, *output)?,
        ConfigVerb::Check { file } => {
            let effective = load::load_file(file)?;
            let warnings = effective.warnings.iter();
            let warnings = warnings.map(|warning| format!("warning: {warning}"));
            let told = settings(&effective.origins);
            let verdict = format!("{}: sound, {told}", file.display());
            let mut lines: Vec<String> = warnings.chain([verdict]).collect();
            lines.push(String::new());
            lines.join("\n")
        }
        ConfigVerb::Schema => {
            let mut text =
                serde_json::to_string_pretty(&definition::schema()).context("print the schema")?;
            text.push('\n');
            text
        }
        ConfigVerb::Reference => reference::markdown(),
    };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

fn print(effective: &Effective, format: Format) -> anyhow::Result<String> {
    match format {
        Format::Yaml => effective.yaml(),
        Format::Json => effective.json(),
    }
    .context("print the configuration")
}

/// How many settings a file tells.
fn settings(origins: &std::collections::BTreeMap<String, Origin>) -> String {
    let in_file = |origin: &&Origin| matches!(origin, Origin::File { .. });
    match origins.values().filter(in_file).count() {
        1 => "1 setting".to_owned(),
        many => format!("{many} settings"),
    }
}
