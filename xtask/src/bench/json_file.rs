//! Where results go beside the terminal.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// What every bench is asked for its results.
#[derive(clap::Args)]
pub(crate) struct JsonFile {
    /// Also write the results to a file, as a list of JSON objects.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl JsonFile {
    /// Writes the file, if one is wanted.
    pub(crate) fn write(&self, rows: &[impl Serialize]) -> Result<()> {
        let Some(path) = &self.json else {
            return Ok(());
        };
        let text = serde_json::to_string_pretty(rows)?;
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::JsonFile;

    #[test]
    fn the_file_is_a_list_and_a_folder_that_is_absent_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.json");
        let file = |path| JsonFile { json: Some(path) };
        file(path.clone()).write(&[1, 2]).unwrap();
        let rows: Vec<u8> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(rows, [1, 2]);
        let absent = folder.path().join("none").join("rows.json");
        let error = file(absent.clone()).write(&[1]).unwrap_err();
        assert_eq!(error.to_string(), format!("write {}", absent.display()));
        JsonFile { json: None }.write(&[1]).unwrap();
    }
}
