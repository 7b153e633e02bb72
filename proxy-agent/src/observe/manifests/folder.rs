//! The files of the folder and their last good content.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::document;
use crate::{
    model::{Kind, ObjectName},
    observe::{Converted, intern::Interner},
};

/// A folder of manifests.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, File>,
    interner: Interner,
}

#[derive(Debug, Default)]
struct File {
    /// What was read last, parsed or not.
    text: String,
    /// The objects of the last content that could be parsed.
    good: Option<Vec<Converted>>,
    error: Option<String>,
}

/// What the folder holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// All objects, every kind present.
    pub(super) objects: BTreeMap<Kind, Vec<Converted>>,
    /// What could not be read, with file and line.
    pub(super) errors: Vec<String>,
    /// Some file has never been readable.
    pub(super) never_read: bool,
}

impl Folder {
    pub(super) fn new(path: PathBuf, node: &str) -> Self {
        Self {
            path,
            files: BTreeMap::new(),
            interner: Interner::new(node),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what has changed and gives everything.
    pub(super) fn scan(&mut self) -> Scan {
        let mut scan = Scan::default();
        for kind in Kind::ALL {
            scan.objects.insert(kind, Vec::new());
        }
        match manifests(&self.path) {
            Ok(paths) => self.read(&paths),
            Err(error) => {
                // The folder is gone for the moment: what it held stays.
                scan.errors
                    .push(format!("{}: {error}", self.path.display()));
                scan.never_read = self.files.is_empty();
            }
        }
        let mut seen: BTreeMap<(Kind, ObjectName), &Path> = BTreeMap::new();
        for (path, file) in &self.files {
            scan.errors.extend(file.error.clone());
            scan.never_read |= file.good.is_none();
            for object in file.good.iter().flatten() {
                let key = (object.kind, object.name.clone());
                if let Some(first) = seen.get(&key) {
                    scan.errors.push(format!(
                        "{}: {} {} is in {} already",
                        path.display(),
                        object.kind,
                        object.name,
                        first.display()
                    ));
                    continue;
                }
                seen.insert(key, path);
                scan.objects
                    .entry(object.kind)
                    .or_default()
                    .push(object.clone());
            }
        }
        scan
    }

    fn read(&mut self, paths: &[PathBuf]) {
        self.files.retain(|path, _| paths.contains(path));
        for path in paths {
            let text = match fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.files.remove(path);
                    continue;
                }
                Err(error) => {
                    let file = self.files.entry(path.clone()).or_default();
                    file.error = Some(format!("{}: {error}", path.display()));
                    continue;
                }
            };
            let file = self.files.entry(path.clone()).or_default();
            if (file.good.is_some() || file.error.is_some()) && file.text == text {
                continue;
            }
            match document::parse(path, &text, &self.interner) {
                Ok(objects) => {
                    file.good = Some(objects);
                    file.error = None;
                }
                Err(error) => file.error = Some(error.to_string()),
            }
            file.text = text;
        }
    }
}

/// The manifests of a folder, by name: `*.yaml`, `*.yml`, `*.json`, hidden files left aside.
fn manifests(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(|e| e.to_str());
        if !hidden && matches!(extension, Some("yaml" | "yml" | "json")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
