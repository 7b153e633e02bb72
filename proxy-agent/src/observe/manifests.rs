//! A watched folder of manifests as source: the YAML or JSON that kubectl takes, with status filled in.
//!
//! The whole folder is read again after each change; a file that cannot be read or parsed keeps its last
//! good content and is reported with its line, all other files go on. Write files by rename, as kubectl and
//! editors do: a half-written one may happen to parse.

mod document;
mod folder;

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify::Watcher as _;
use tokio::{sync::Notify, task::JoinHandle, time};

use self::folder::Folder;
use super::{Store, Update};
use crate::watchdog::Pulse;

/// How long the folder must be quiet before it is read.
const QUIET: Duration = Duration::from_millis(20);
/// The folder is read this often even if no event came (network file systems send none).
const RESCAN: Duration = Duration::from_secs(10);

/// The watch; it ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The folder cannot be watched at all.
#[derive(Debug, thiserror::Error)]
#[error("watching the manifests in {}: {source}", path.display())]
pub struct ManifestsError {
    path: PathBuf,
    source: notify::Error,
}

impl ManifestsError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match &self.source.kind {
            notify::ErrorKind::MaxFilesWatch => {
                "raise the sysctl fs.inotify.max_user_watches".to_owned()
            }
            _ => format!(
                "is {} a folder that the agent may read? --manifests names it",
                self.path.display()
            ),
        }
    }
}

/// Reads the folder into `store`, as seen from a node, then keeps it in step in the background.
pub fn spawn(
    store: Arc<Store>,
    path: PathBuf,
    node: &str,
    pulse: Pulse,
) -> Result<Watch, ManifestsError> {
    let wake = Arc::new(Notify::new());
    let changed = Arc::clone(&wake);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading files is no change of them.
        if event.is_ok_and(|e| !e.kind.is_access()) {
            wake.notify_one();
        }
    })
    .map_err(|source| failed(&path, source))?;
    watcher
        .watch(&path, notify::RecursiveMode::NonRecursive)
        .map_err(|source| failed(&path, source))?;
    let mut folder = Folder::new(path, node);
    scan(&store, &mut folder);
    let task = pulse.spawn::<_>(async move {
        let _watcher = watcher; // Dropping it would end the events.
        loop {
            if time::timeout(RESCAN, changed.notified()).await.is_ok() {
                while time::timeout(QUIET, changed.notified()).await.is_ok() {}
            }
            scan(&store, &mut folder);
        }
    });
    Ok(Watch { task })
}

fn failed(path: &std::path::Path, source: notify::Error) -> ManifestsError {
    ManifestsError {
        path: path.to_owned(),
        source,
    }
}

/// Reads a folder on request, for callers that have no need to watch it.
#[derive(Debug)]
pub struct Reader(Folder);

impl Reader {
    /// A folder that is not read yet, as seen from a node.
    pub fn new(path: PathBuf, node: &str) -> Self {
        Self(Folder::new(path, node))
    }

    /// Reads what has changed and puts all of it into the store.
    pub fn read(&mut self, store: &Store) {
        scan(store, &mut self.0);
    }
}

fn scan(store: &Store, folder: &mut Folder) {
    let scan = folder.scan();
    store.set_partial(scan.never_read);
    let lists = scan.objects.into_iter();
    store.update(lists.map(|(kind, objects)| Update::Replace(kind, objects)));
    let errors = (!scan.errors.is_empty()).then(|| scan.errors.join("; "));
    let source = folder.path().display().to_string();
    if store.report(&source, true, errors.as_deref()) {
        match errors {
            None => tracing::info!(folder = source, "manifests read"),
            Some(_) => {
                for error in scan.errors {
                    tracing::error!(error, "manifest not taken; its last good content stays");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{model::Kind, observe::Changes, watchdog::Watchdog};

    fn service(name: &str, address: &str) -> String {
        format!("kind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {address}}}\n")
    }

    fn names(store: &Store) -> Vec<String> {
        store
            .read()
            .services
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_broken_file_keeps_its_last_good_content() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
        let store = Store::new();
        let mut reader = Folder::new(folder.path().to_owned(), "a");
        fs::write(&a, service("a", "10.0.0.1")).unwrap();
        fs::write(&b, "kind: [").unwrap();
        scan(&store, &mut reader);
        assert_eq!(names(&store), ["default/a"]);
        assert!(store.read().partial, "b.yaml may justify anything");
        assert!(store.complete().has(&Kind::ALL));

        fs::write(&b, service("b", "10.0.0.2")).unwrap();
        scan(&store, &mut reader);
        assert_eq!(names(&store), ["default/a", "default/b"]);
        assert!(!store.read().partial);
        assert_eq!(store.status().borrow().error, None);

        fs::write(&b, "kind: Service\nmetadata: {\n").unwrap();
        fs::write(&a, service("c", "10.0.0.3")).unwrap();
        scan(&store, &mut reader);
        assert_eq!(names(&store), ["default/b", "default/c"]);
        let error = store.status().borrow().error.clone().unwrap();
        assert!(error.contains("b.yaml:"), "{error}");

        fs::remove_file(&b).unwrap();
        scan(&store, &mut reader);
        assert_eq!(names(&store), ["default/c"]);
    }

    #[test]
    fn one_object_in_two_files_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new();
        fs::write(folder.path().join("a.yaml"), service("a", "10.0.0.1")).unwrap();
        fs::write(folder.path().join("b.yml"), service("a", "10.0.0.2")).unwrap();
        Reader::new(folder.path().to_owned(), "a").read(&store);
        let error = store.status().borrow().error.clone().unwrap();
        assert!(
            error.contains("b.yml: Service default/a is in") && error.contains("a.yaml"),
            "{error}"
        );
        let address = store
            .read()
            .services
            .values()
            .next()
            .unwrap()
            .cluster_ips
            .of(false)
            .unwrap();
        assert_eq!(address.to_string(), "10.0.0.1");
    }

    #[tokio::test]
    async fn changes_of_the_folder_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new();
        let pulse = Watchdog::default().register("manifests");
        let _watch = spawn(Arc::clone(&store), folder.path().to_owned(), "a", pulse).unwrap();
        let mut changes = Changes::new(Arc::clone(&store), Duration::from_millis(5));
        changes.due().await;
        let first = changes.take(&store.read());
        assert!(first.dirty.is_empty() && first.complete.has(&Kind::ALL));
        fs::write(folder.path().join("a.yaml"), service("a", "10.0.0.1")).unwrap();
        changes.due().await;
        let change = changes.take(&store.read());
        let dirty: Vec<String> = change
            .dirty
            .services
            .keys()
            .map(ToString::to_string)
            .collect();
        assert_eq!(dirty, ["default/a"]);
        assert_eq!(names(&store), ["default/a"]);
    }
}
