//! What was found, and where nobody could look: nothing found is only an answer of places that were looked at.

use std::io::Write as _;

use serde::Serialize;

use super::Leftover;
use crate::ctl::{
    CtlError, Exit,
    output::{Format, Output},
    tool::Call,
};

/// How to look with the node's own tools, by the program in the agent's container: the host need not have it.
const HINT: &str = "run it as root on the node itself, with the tools that lack there: \
                    \"/proc/$(pidof -s proxy-agent)/root/usr/bin/proxyctl\" kube-proxy status";

/// A place of which nobody can say what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::ctl) struct Unseen {
    /// `nftables`, `iptables`, `ip6tables` or `ipset`.
    #[serde(rename = "in")]
    pub(in crate::ctl) place: &'static str,
    /// What lacks, or what failed.
    pub(in crate::ctl) why: String,
    /// Whether a tool is here, but fails.
    #[serde(skip)]
    pub(in crate::ctl) fails: bool,
}

/// An answer of all places.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::ctl) struct Survey {
    /// What was found.
    #[serde(rename = "items")]
    pub(in crate::ctl) found: Vec<Leftover>,
    /// Where nobody could look.
    #[serde(rename = "notLookedAt")]
    pub(in crate::ctl) unseen: Vec<Unseen>,
}

impl Survey {
    /// What a tool says; nothing, and that it is told so, where it is not here or fails.
    pub(super) fn ask(&mut self, place: &'static str, words: &[&str]) -> Option<String> {
        match Call::new(words).output() {
            Ok(Some(text)) => return Some(text),
            Ok(None) => self.lacks(place, words.first().unwrap_or(&"")),
            Err(error) => self.fails(place, error.message),
        }
        None
    }

    /// A tool that is not here.
    pub(super) fn lacks(&mut self, place: &'static str, tool: &str) {
        self.unseen.push(Unseen {
            place,
            why: format!("{tool} is not here"),
            fails: false,
        });
    }

    /// A tool that fails.
    pub(super) fn fails(&mut self, place: &'static str, why: String) {
        self.unseen.push(Unseen {
            place,
            why,
            fails: true,
        });
    }

    /// Prints what was found. For programs what was not looked at is part of it.
    pub(super) fn print(&self, out: &mut Output) -> Result<(), CtlError> {
        match out.format {
            Format::Json | Format::Yaml => {
                out.object("KubeProxyLeftoverList", self, |_| Ok(()))?;
            }
            Format::Table | Format::Wide | Format::Name if self.is_blank() => {}
            Format::Table | Format::Wide | Format::Name => out.rows(self.found.clone())?,
        }
        Ok(())
    }

    /// Nothing found, but not everything looked at: an empty table would say that all is well.
    fn is_blank(&self) -> bool {
        self.found.is_empty() && !self.unseen.is_empty()
    }

    /// The exit code; an error that says so where something could not be looked at.
    pub(super) fn verdict(&self, out: &mut Output) -> Result<Exit, CtlError> {
        let exit = match (self.found.is_empty(), self.unseen.is_empty()) {
            (true, true) => return Ok(Exit::Ok),
            (false, true) => return Ok(Exit::Failed),
            (false, false) => Exit::Failed,
            (true, false) => Exit::Undecided,
        };
        // The error comes after what was found.
        out.flush()?;
        let places = words(&self.unseen);
        let message = format!("could not look for what kube-proxy has left in {places}");
        Err(CtlError::new(exit, message, HINT))
    }
}

/// Places that nobody has looked at, and why.
pub(in crate::ctl) fn words(unseen: &[Unseen]) -> String {
    let places = unseen.iter();
    let places: Vec<String> = places
        .map(|it| format!("{} ({})", it.place, it.why))
        .collect();
    places.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_here_or_fails_is_a_place_that_nobody_has_looked_at() {
        let mut survey = Survey::default();
        assert_eq!(survey.ask("nftables", &["weir-no-such-tool", "-x"]), None);
        assert_eq!(
            survey.ask("iptables", &["sh", "-c", "echo not root >&2; exit 4"]),
            None
        );
        assert_eq!(
            survey.ask("ip6tables", &["echo", "all"]),
            Some("all\n".to_owned())
        );
        assert_eq!(
            words(&survey.unseen),
            "nftables (weir-no-such-tool is not here), iptables (`sh -c echo not root >&2; exit 4`: not root)"
        );
    }
}
