//! Where things are pinned: `<bpffs>/weir/<instance>/v<SCHEMA>/{meta,declarations,maps/*,links/*}`, and `building/*` and `next/*` while
//! maps are exchanged ([`super::migrate`]).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use proxy_common::layout::SCHEMA;

use super::error::DatapathError;

/// The folder of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    instance: PathBuf,
    schema: u32,
}

impl Pins {
    /// The pins of an instance on a bpffs. Touches nothing.
    pub fn new(bpffs: &Path, instance: &str) -> Result<Self, DatapathError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if instance.is_empty() || !instance.chars().all(fits) {
            return Err(DatapathError::InstanceName(instance.to_owned()));
        }
        Ok(Self {
            instance: bpffs.join("weir").join(instance),
            schema: SCHEMA,
        })
    }

    /// Those of another schema.
    #[must_use]
    pub fn of_schema(&self, schema: u32) -> Self {
        Self {
            instance: self.instance.clone(),
            schema,
        }
    }

    /// Folder of the instance, all schemas.
    pub fn instance(&self) -> &Path {
        &self.instance
    }

    /// Folder of a schema.
    pub fn schema(&self, schema: u32) -> PathBuf {
        self.instance.join(format!("v{schema}"))
    }

    /// Folder of this schema.
    pub fn folder(&self) -> PathBuf {
        self.schema(self.schema)
    }

    /// The map that says which layout the others have.
    pub fn meta(&self) -> PathBuf {
        self.folder().join("meta")
    }

    /// The map that says what their makers declared of the others' contents.
    pub fn declarations(&self) -> PathBuf {
        self.folder().join("declarations")
    }

    /// Folder of the maps.
    pub fn maps(&self) -> PathBuf {
        self.folder().join("maps")
    }

    /// A map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Folder of maps that are being made to take the place of others: nothing depends on them.
    pub fn building(&self) -> PathBuf {
        self.folder().join("building")
    }

    /// Folder of maps that are about to take the place of others: programs may use either.
    pub fn next(&self) -> PathBuf {
        self.folder().join("next")
    }

    /// Whether an agent was killed while it exchanged maps, so that programs may use either.
    pub fn is_exchanging(&self) -> Result<bool, DatapathError> {
        let folder = self.next();
        let names = names(&folder).map_err(DatapathError::file("list", &folder))?;
        Ok(!names.is_empty())
    }

    /// Folder of the links.
    pub fn links(&self) -> PathBuf {
        self.folder().join("links")
    }

    /// A link.
    pub fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// Makes the folders.
    pub(super) fn create(&self) -> Result<(), DatapathError> {
        for folder in [self.maps(), self.links()] {
            fs::create_dir_all(&folder).map_err(DatapathError::file("create", &folder))?;
        }
        Ok(())
    }

    /// Schemas that have a folder.
    pub(super) fn schemas(&self) -> Result<Vec<u32>, DatapathError> {
        let names = names(&self.instance).map_err(DatapathError::file("list", &self.instance))?;
        Ok(names
            .iter()
            .filter_map(|name| name.strip_prefix('v')?.parse().ok())
            .collect())
    }

    /// Takes everything down: links first, so that no program runs without its maps being named. Goes on
    /// after errors and returns them.
    pub fn remove(&self) -> Vec<DatapathError> {
        let mut errors = Vec::new();
        for schema in self.schemas().unwrap_or_default() {
            let folder = self.schema(schema);
            for inner in ["links", "next", "building", "maps"] {
                remove_folder(&folder.join(inner), &mut errors);
            }
            remove_folder(&folder, &mut errors);
        }
        remove_folder(&self.instance, &mut errors);
        // Shared with other instances: goes with the last of them.
        if let Some(parent) = self.instance.parent() {
            fs::remove_dir(parent).ok();
        }
        errors
    }
}

/// Names in a folder; none if it does not exist.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Removes a folder with the pins right in it; the first error, if there is one.
pub(super) fn discard(folder: &Path) -> Result<(), DatapathError> {
    let mut errors = Vec::new();
    remove_folder(folder, &mut errors);
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Removes a folder with the pins right in it.
fn remove_folder(folder: &Path, errors: &mut Vec<DatapathError>) {
    let mut keep = |operation, path: &Path, result: io::Result<()>| {
        if let Err(source) = result
            && source.kind() != io::ErrorKind::NotFound
        {
            errors.push(DatapathError::file(operation, path)(source));
        }
    };
    for name in names(folder).unwrap_or_default() {
        let pin = folder.join(name);
        keep("remove", &pin, fs::remove_file(&pin));
    }
    keep("remove", folder, fs::remove_dir(folder));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_bpffs_refuses_are_refused() {
        for name in ["", "a.b", "a/b", "..", "ü"] {
            assert!(Pins::new(Path::new("/x"), name).is_err(), "{name}");
        }
        let pins = Pins::new(Path::new("/x"), "node-1_a").unwrap();
        assert_eq!(pins.map("M"), Path::new("/x/weir/node-1_a/v2/maps/M"));
    }
}
