//! How many tests did what, as their programs say it.

use std::fmt;

/// How many tests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    /// Ignored ones too: a test that did not run has shown nothing.
    pub(crate) failed: usize,
}

impl Count {
    /// Something that had to run and did not.
    pub(crate) const FAILURE: Self = Self {
        passed: 0,
        failed: 1,
    };

    /// Reads `test result: ok. 2 passed; 0 failed; 0 ignored; …`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let rest = line.split_once("test result: ")?.1.split_once(". ")?.1;
        let number = |word: &str| -> Option<usize> {
            let field = rest.split("; ").find(|field| field.ends_with(word))?;
            field.split(' ').next()?.parse().ok()
        };
        Some(Self {
            passed: number(" passed")?,
            failed: number(" failed")? + number(" ignored")?,
        })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} passed, {} failed", self.passed, self.failed)
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            passed: a.passed + b.passed,
            failed: a.failed + b.failed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn result_lines_are_read() {
        let line = "test result: FAILED. 7 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s";
        assert_eq!(
            Count::parse(line),
            Some(Count {
                passed: 7,
                failed: 3
            })
        );
        assert_eq!(Count::parse("test a::b ... ok"), None);
    }
}
