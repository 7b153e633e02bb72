//! The text of a scenario: a comment, then sections that begin with `-- WORDS --`.
//!
//! | section | meaning |
//! |---|---|
//! | `NAME.yaml`, `NAME.json` | writes the file into the folder of manifests |
//! | `remove NAME` | removes it |
//! | `capacity N` | first only: how many entries each map has room for |
//! | `restart` | a new agent goes on from the same maps; ids of what stays must stay |
//! | `services`, `backends` | what `proxyctl dump` must print once all is in step |
//! | `problems` | what must be reported |

use std::{fmt::Write as _, fs, path::Path};

/// A scenario.
pub(crate) struct Script {
    comment: String,
    pub(crate) sections: Vec<Section>,
}

/// A section.
pub(crate) struct Section {
    /// Between the dashes.
    pub(crate) head: String,
    /// The lines below.
    pub(crate) body: String,
}

impl Script {
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut script = Self {
            comment: String::new(),
            sections: Vec::new(),
        };
        for line in text.split_inclusive('\n') {
            let head = line.trim_end().strip_prefix("-- ");
            if let Some(head) = head.and_then(|h| h.strip_suffix(" --")) {
                script.sections.push(Section {
                    head: head.to_owned(),
                    body: String::new(),
                });
            } else if let Some(section) = script.sections.last_mut() {
                section.body.push_str(line);
            } else {
                script.comment.push_str(line);
            }
        }
        assert!(
            script.comment.starts_with("# "),
            "{}: begin with a comment that says what it shows",
            path.display()
        );
        script
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut text = self.comment.clone();
        for Section { head, body } in &self.sections {
            writeln!(text, "-- {head} --").expect("a string takes all");
            text.push_str(body);
        }
        fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
