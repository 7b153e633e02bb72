//! What test programs say of themselves: how many tests passed, which failed, and what was said of those.

use crate::count::Count;

/// Lines about failures that are told again at the end.
const RETOLD: usize = 60;

/// What test programs said of themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) count: Count,
    /// Lines about what failed, as they are shown to people.
    pub(crate) failures: Vec<String>,
    /// Names of tests that failed; none of a program that did not come to its end.
    pub(crate) failed: Vec<String>,
    /// Whether the lines that come are about failures.
    of_failures: bool,
    /// What may be the names of a program's failed tests: it ends with a list of them.
    listed: Vec<String>,
}

impl Told {
    /// Something that had to run and did not.
    pub(crate) fn failure(why: String) -> Self {
        Self {
            count: Count::FAILURE,
            failures: vec![why],
            ..Self::default()
        }
    }

    /// Takes note of the next line of a test program, which people see as `shown`.
    pub(crate) fn hear(&mut self, line: &str, shown: &str) {
        if let Some(count) = Count::parse(line) {
            self.count = [self.count, count].into_iter().sum();
            self.of_failures = false;
            self.failed.append(&mut self.listed);
        } else if line == "failures:" {
            self.of_failures = true;
            self.listed.clear();
        }
        if !self.of_failures {
            return;
        }
        self.listed.extend(listed(line).map(str::to_owned));
        if !is_of_backtrace(line) && self.failures.len() < RETOLD {
            self.failures.push(shown.to_owned());
        }
    }

    /// Whether each test that failed has a name.
    pub(crate) fn names_all(&self) -> bool {
        self.failed.len() == self.count.failed
    }
}

impl Extend<Self> for Told {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, others: I) {
        for other in others {
            self.count = [self.count, other.count].into_iter().sum();
            self.failures.extend(other.failures);
            self.failed.extend(other.failed);
        }
    }
}

/// `    a::b`, as in the list of failed tests that a program ends with.
fn listed(line: &str) -> Option<&str> {
    let name = line.strip_prefix("    ")?;
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    is_name.then_some(name)
}

/// `   4: a::b` or `      at ./tests/a.rs:1:2`.
fn is_of_backtrace(line: &str) -> bool {
    let text = line.trim_start();
    let number = text.split_once(": ").map(|(number, _)| number);
    let is_frame = number.is_some_and(|number| number.parse::<u16>().is_ok());
    text.len() < line.len() && (is_frame || text.starts_with("at "))
}

#[cfg(test)]
mod tests {
    use super::{Told, is_of_backtrace};
    use crate::count::Count;

    const SAID: &str = "\
running 3 tests
test a::b ... said by the test
FAILED
test c ... ok
test d ... FAILED

failures:

---- a::b stdout ----
thread 'a::b' panicked at tests/a.rs:1:2:
assertion failed
    left-alone
   4: a::b
             at ./tests/a.rs:1:2

failures:
    a::b
    d

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s
    nothing
";

    #[test]
    fn tests_that_failed_are_named_whatever_they_say() {
        let mut told = Told::default();
        for line in SAID.lines() {
            told.hear(line, &format!("6.1: {line}"));
        }
        let count = Count {
            passed: 1,
            failed: 2,
        };
        assert_eq!(
            (told.count, &*told.failed),
            (count, &["a::b".to_owned(), "d".to_owned()][..])
        );
        assert!(told.names_all());
        let shown = told.failures.join("\n");
        assert!(
            shown.contains("6.1: assertion failed") && !shown.contains("./tests/a.rs"),
            "{shown}"
        );
        assert!(
            !shown.contains("nothing") && !shown.contains("test c"),
            "{shown}"
        );
    }

    #[test]
    fn what_never_ran_has_no_name() {
        assert!(!Told::failure("it does not boot".to_owned()).names_all());
    }

    #[test]
    fn backtraces_are_known() {
        assert!(is_of_backtrace("   4: world_xdp::main"));
        assert!(is_of_backtrace(
            "             at ./tests/world_xdp.rs:167:5"
        ));
        assert!(!is_of_backtrace("  left: 1") && !is_of_backtrace("at last"));
    }
}
