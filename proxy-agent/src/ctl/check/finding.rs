//! What a check is, and what it finds.

use serde::Serialize;

use super::{Fault, scene::Scene};

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// What Weir is told.
    Configuration,
    /// What the kernel can do.
    Kernel,
    /// Privileges, and what is mounted where.
    Machine,
    /// Links, addresses, ports, kernel settings of the network.
    Network,
    /// Others who do the same work.
    Others,
    /// API servers, and what they know of this node.
    Cluster,
    /// Where the runtime looks for the plugin.
    Plugin,
    /// The agent, by its own word.
    Agent,
    /// Programs and maps, without the agent.
    Datapath,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// It could not be looked at from here, or need not.
    Unknown,
    /// It works, but needs attention.
    Warning,
    /// It does not work.
    Error,
}

impl Outcome {
    /// As people read it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Unknown => "-",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub category: Category,
}

/// A check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// What it looks at.
    pub topic: Topic,
    /// It makes sense before anything is installed, too.
    pub before: bool,
    /// Looks, and judges.
    pub look: fn(&Scene) -> Verdict,
}

/// What a check finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is there, if there is no complaint.
    pub text: String,
    /// It was looked at.
    pub looked: bool,
    /// What is wrong.
    pub complaints: Vec<Complaint>,
}

impl Verdict {
    /// All is well, and how.
    pub fn fine(text: impl Into<String>) -> Self {
        Self::of(text, [])
    }

    /// It was not looked at, and why.
    pub fn unknown(text: impl Into<String>) -> Self {
        Self {
            looked: false,
            ..Self::of(text, [])
        }
    }

    /// All is well but for these, if any.
    pub fn of(text: impl Into<String>, complaints: impl IntoIterator<Item = Complaint>) -> Self {
        Self {
            text: text.into(),
            looked: true,
            complaints: complaints.into_iter().collect(),
        }
    }
}

impl From<Complaint> for Verdict {
    fn from(complaint: Complaint) -> Self {
        Self::of("", [complaint])
    }
}

/// What makes a complaint go away, where one command or one setting does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// A command for root's shell on the node.
    Command(String),
    /// A setting of the agent, as `--set` takes it.
    Setting(String),
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Its name.
    pub fault: Fault,
    /// Error or warning.
    pub level: Outcome,
    /// What is wrong, with what, and why.
    pub text: String,
    /// What to do about it.
    pub hint: String,
    /// The same for a shell or a file.
    pub remedy: Option<Remedy>,
}

impl Complaint {
    /// Something that does not work.
    pub fn error(fault: Fault, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            fault,
            level: Outcome::Error,
            text: text.into(),
            hint: hint.into(),
            remedy: None,
        }
    }

    /// Something that works, but needs attention.
    pub fn warning(fault: Fault, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            level: Outcome::Warning,
            ..Self::error(fault, text, hint)
        }
    }

    /// What root runs against it.
    #[must_use]
    pub fn command(self, command: impl Into<String>) -> Self {
        Self {
            remedy: Some(Remedy::Command(command.into())),
            ..self
        }
    }

    /// The setting that does.
    #[must_use]
    pub fn setting(self, path: &str, value: impl std::fmt::Display) -> Self {
        Self {
            remedy: Some(Remedy::Setting(format!("{path}={value}"))),
            ..self
        }
    }
}

/// A path as a shell takes it.
pub fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::quoted;

    #[test]
    fn paths_stay_one_word() {
        assert_eq!(quoted(Path::new("/etc/cni/net.d")), "/etc/cni/net.d");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
