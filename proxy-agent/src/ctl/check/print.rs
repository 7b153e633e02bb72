//! How what was found is printed.

use std::io::{self, Write};

use serde::Serialize;

use super::{Category, Fault, Outcome, Remedy, Topic, Verdict, fault::PAGE};
use crate::ctl::Exit;

/// One line: a check without complaints, or a complaint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What the check is about.
    pub category: Category,
    /// Name of the check.
    pub check: &'static str,
    /// `ok`, `unknown`, `warning` or `error`.
    pub level: Outcome,
    /// What is there, or what is wrong.
    pub text: String,
    /// Name of what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same for a shell or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
    /// Where more is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub see: Option<String>,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Before Weir is installed.
    pub pre: bool,
    /// How many complaints are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// In the order of the table.
    pub lines: Vec<Line>,
}

impl Report {
    /// Of what checks found.
    pub fn of(pre: bool, looked: impl Iterator<Item = (Topic, Verdict)>) -> Self {
        let lines: Vec<Line> = looked
            .flat_map(|(topic, verdict)| lines(topic, verdict))
            .collect();
        let count = |level| lines.iter().filter(|line| line.level == level).count();
        Self {
            pre,
            errors: count(Outcome::Error),
            warnings: count(Outcome::Warning),
            lines,
        }
    }

    /// How bad it is.
    pub fn worst(&self) -> Outcome {
        let levels = self.lines.iter().map(|line| line.level);
        levels.max().unwrap_or(Outcome::Ok)
    }

    /// The exit code of who looked.
    pub fn exit(&self, fail_on_warning: bool) -> Exit {
        let bad = if fail_on_warning {
            Outcome::Warning
        } else {
            Outcome::Error
        };
        if self.worst() >= bad {
            Exit::Failed
        } else {
            Exit::Ok
        }
    }
}

fn lines(topic: Topic, verdict: Verdict) -> Vec<Line> {
    let plain = Line {
        category: topic.category,
        check: topic.name,
        level: if verdict.looked {
            Outcome::Ok
        } else {
            Outcome::Unknown
        },
        text: verdict.text,
        fault: None,
        hint: None,
        remedy: None,
        see: None,
    };
    if verdict.complaints.is_empty() {
        return vec![plain];
    }
    let complaints = verdict.complaints.into_iter();
    complaints
        .map(|complaint| Line {
            level: complaint.level,
            text: complaint.text,
            fault: Some(complaint.fault),
            hint: Some(complaint.hint),
            remedy: complaint.remedy,
            see: Some(complaint.fault.link()),
            ..plain.clone()
        })
        .collect()
}

/// For people.
pub(in crate::ctl) fn write(report: &Report, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut category = None;
    for line in &report.lines {
        if category.replace(line.category) != Some(line.category) {
            writeln!(to, "{}", format!("{:?}", line.category).to_lowercase())?;
        }
        let (level, check) = (line.level.word(), line.check);
        writeln!(to, "  {level:<8} {check:<16} {}", line.text)?;
        advice(line, to)?;
    }
    let (errors, warnings) = (report.errors, report.warnings);
    writeln!(to, "errors {errors}   warnings {warnings}")
}

fn advice(line: &Line, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let Some(hint) = &line.hint else {
        return Ok(());
    };
    writeln!(to, "           hint: {hint}")?;
    match &line.remedy {
        Some(Remedy::Command(command)) => writeln!(to, "           run:  {command}")?,
        Some(Remedy::Setting(setting)) => writeln!(to, "           set:  {setting}")?,
        None => {}
    }
    let anchor = line.fault.map_or("", Fault::anchor);
    writeln!(to, "           see:  {PAGE}#{anchor}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::Complaint;

    const BPFFS: Topic = Topic {
        name: "bpffs",
        category: Category::Machine,
    };

    #[test]
    fn one_line_for_each_check_and_advice_for_each_complaint() {
        let complaint = Complaint::error(Fault::NoBpffs, "no BPF file system at /x", "mount one");
        let complaint = complaint.command("mount -t bpf bpf /x");
        let looked = [(BPFFS, Verdict::fine("mounted")), (BPFFS, complaint.into())];
        let report = Report::of(true, looked.into_iter());
        assert_eq!(report.worst(), Outcome::Error);
        let mut text = Vec::new();
        write(&report, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "machine\n  \
               OK       bpffs            mounted\n  \
               ERROR    bpffs            no BPF file system at /x\n           \
                        hint: mount one\n           \
                        run:  mount -t bpf bpf /x\n           \
                        see:  docs/troubleshooting.md#no-bpffs\n\
             errors 1   warnings 0\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["lines"][1]["fault"], "no-bpffs");
        assert_eq!(json["lines"][1]["level"], "error");
        assert_eq!(json["lines"][1]["remedy"]["command"], "mount -t bpf bpf /x");
        assert_eq!(json["lines"][0].get("hint"), None);
    }
}
