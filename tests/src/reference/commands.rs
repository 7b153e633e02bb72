//! Command lines: pages of the book, man pages, completions for shells.

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_markdown::MarkdownOptions;
use proxy_agent::{
    agent::command::command_line,
    ctl::{Exit, args::Arguments},
};

use super::{Document, table};

/// Where man pages and completions go.
const PACKAGES: &str = "target/docs";

/// The command line of `proxyctl`.
pub fn proxyctl() -> Command {
    Arguments::command()
}

pub(super) fn proxyctl_page() -> Document {
    let codes = Exit::ALL.iter().map(|(code, meaning)| {
        let code = *code as u8;
        vec![code.to_string(), (*meaning).to_owned()]
    });
    let codes = table(&["exit code", "what it means"], codes);
    let text = format!("{codes}\n{}", markdown(&proxyctl()));
    Document::page("proxyctl", "proxyctl", &text)
}

pub(super) fn agent_page() -> Document {
    let text =
        "Settings that have flags are described in [the configuration](configuration.md).\n\n";
    let text = format!("{text}{}", markdown(&command_line()));
    Document::page("proxy-agent", "proxy-agent", &text)
}

fn markdown(command: &Command) -> String {
    let options = MarkdownOptions::new()
        .show_footer(false)
        .show_table_of_contents(false)
        .title(format!("`{}`", command.get_name()));
    let made = clap_markdown::help_markdown_command_custom(command, &options);
    // Its title is a part of a page here.
    let mut lines: Vec<String> = Vec::new();
    for line in made.lines().map(str::trim_end) {
        let blank = line.is_empty() && lines.last().is_none_or(String::is_empty);
        let of_document = line.starts_with("# ") || line.starts_with("This document");
        if !of_document && !blank {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// What packages of the programs bring along: man pages and completions.
pub fn for_packages() -> Result<Vec<Document>> {
    let mut made = Vec::new();
    for mut command in [proxyctl(), command_line()] {
        command.build();
        pages(&command, &mut made)?;
    }
    for shell in Shell::value_variants() {
        let mut text = Vec::new();
        clap_complete::generate(*shell, &mut proxyctl(), "proxyctl", &mut text);
        let text = String::from_utf8(text).context("completions are not UTF-8")?;
        made.push(Document::new(
            format!("{PACKAGES}/completions/proxyctl.{shell}"),
            text,
        ));
    }
    Ok(made)
}

/// A page for a command and one for each below it, `proxyctl-policy-why.1`.
fn pages(command: &Command, made: &mut Vec<Document>) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut text = Vec::new();
    let man = Man::new(command.clone()).source("Weir").manual("Weir");
    man.render(&mut text).context("cannot write a man page")?;
    let text = String::from_utf8(text).context("a man page is not UTF-8")?;
    made.push(Document::new(format!("{PACKAGES}/man/{name}.1"), text));
    let below = command
        .get_subcommands()
        .filter(|one| one.get_name() != "help" && !one.is_hide_set());
    for one in below {
        pages(one, made)?;
    }
    Ok(())
}
