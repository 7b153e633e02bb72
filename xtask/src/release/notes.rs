//! A version's section of the changelog.

use anyhow::{Context as _, Result, ensure};

use super::VERSION;

/// The section of the version that `tag` names, which must be that of the checkout.
pub(super) fn of(changelog: &str, tag: &str) -> Result<String> {
    let version = tag.strip_prefix('v').unwrap_or(tag);
    ensure!(
        version == VERSION,
        "the tag {tag} names another version than Cargo.toml, {VERSION}"
    );
    section(changelog, version)
}

fn section(changelog: &str, version: &str) -> Result<String> {
    let begins = |part: &&str| {
        let rest = part.strip_prefix(version);
        rest.is_some_and(|rest| rest.starts_with(['\n', ' ']))
    };
    let part = changelog.split("\n## ").find(begins).with_context(|| {
        format!("CHANGELOG.md has no section {version}\nhint: rename the section Unreleased")
    })?;
    let text = part.split_once('\n').map_or("", |(_, text)| text).trim();
    ensure!(
        !text.is_empty(),
        "the section {version} of CHANGELOG.md is empty"
    );
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::section;

    const CHANGELOG: &str =
        "# Changelog\n\n## Unreleased\n\n## 1.10.0\n### Added\n- b\n\n## 1.1.0 - 2026-01-01\n- a\n";

    #[test]
    fn a_section_is_found_by_its_whole_version() {
        assert_eq!(section(CHANGELOG, "1.1.0").unwrap(), "- a");
        assert_eq!(section(CHANGELOG, "1.10.0").unwrap(), "### Added\n- b");
        assert!(section(CHANGELOG, "1.1").is_err());
        assert!(section(CHANGELOG, "Unreleased").is_err(), "it is empty");
    }
}
