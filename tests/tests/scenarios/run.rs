//! Runs a scenario: a folder of manifests, the real way of an update, maps in memory.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

use proxy_agent::{
    ctl::output::{Format, Row, render},
    datapath::table::Table as _,
    model::{Dirty, Kind},
    observe::{Changes, Store, manifests::Reader},
    service::{
        MemoryMaps, ServiceSync, SyncReport,
        desired::{self, Place},
        render as subjects,
    },
};
use tempfile::TempDir;

use crate::script::Script;

const NODE: &str = "here";
const CAPACITY: u32 = 16_384;
/// Percent of writes that fail, and the seeds of who.
const FAULTS: u64 = 10;
const SEEDS: std::ops::Range<u64> = 0..3;

/// Runs a scenario with every seed; writes its output anew if asked to.
pub(crate) fn scenario(path: &Path) {
    let mut script = Script::read(path);
    if std::env::var_os("UPDATE_SCENARIOS").is_some() {
        let mut actual = run(&script, 0).into_iter();
        for section in &mut script.sections {
            if is_check(&section.head) {
                section.body = actual.next().expect("as many outputs as checks");
            }
        }
        script.write(path);
    }
    for seed in SEEDS {
        let mut actual = run(&script, seed).into_iter();
        for section in script.sections.iter().filter(|s| is_check(&s.head)) {
            let actual = actual.next().expect("as many outputs as checks");
            assert!(
                actual == section.body,
                "{}, {} (seed {seed}):\n--- expected\n{}--- actual\n{actual}",
                path.display(),
                section.head,
                section.body
            );
        }
    }
}

fn is_check(head: &str) -> bool {
    matches!(head, "services" | "sources" | "backends" | "problems")
}

/// The outputs of all checks.
fn run(script: &Script, seed: u64) -> Vec<String> {
    let mut sections = script.sections.iter().peekable();
    let capacity = sections.next_if(|s| s.head.starts_with("capacity "));
    let capacity = capacity.map_or(CAPACITY, |s| s.head["capacity ".len()..].parse().unwrap());
    let mut world = World::new(capacity, seed);
    let mut outputs = Vec::new();
    for section in sections {
        match section.head.as_str() {
            head if is_check(head) => {
                world.settle();
                outputs.push(world.show(head));
            }
            "restart" => world.restart(),
            head => match head.strip_prefix("remove ") {
                Some(name) => fs::remove_file(world.folder.path().join(name)).unwrap(),
                None => fs::write(world.folder.path().join(head), &section.body).unwrap(),
            },
        }
    }
    world.end();
    outputs
}

struct World {
    folder: TempDir,
    reader: Reader,
    store: Arc<Store>,
    changes: Changes,
    maps: MemoryMaps,
    sync: ServiceSync,
    report: SyncReport,
}

impl World {
    fn new(capacity: u32, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new();
        let maps = MemoryMaps::new(capacity, seed, FAULTS);
        Self {
            reader: Reader::new(folder.path().to_owned(), NODE),
            folder,
            changes: Changes::new(Arc::clone(&store), Duration::ZERO),
            store,
            sync: agent(&maps),
            maps,
            report: SyncReport::default(),
        }
    }

    /// Reads the folder and syncs until nothing is left to do but to try again what was refused.
    fn settle(&mut self) {
        self.reader.read(&self.store);
        let mut dirty = self.changes.take(&self.store.read()).dirty;
        for _ in 0..20_000 {
            self.report = self.sync.sync(&self.store.read(), &dirty);
            dirty = Dirty::default();
            let Some(after) = self.report.again_after else {
                return;
            };
            let refused =
                |error: &String| error.contains("has no room") || error.contains("belongs to");
            let only_refused = self.report.failed.values().all(refused);
            if only_refused && !self.report.failed.is_empty() && after > Duration::from_millis(500)
            {
                return;
            }
            std::thread::sleep(after.min(Duration::from_secs(1)));
        }
        panic!(
            "never in step: {:?}\n{}",
            self.report,
            self.show("services")
        );
    }

    fn show(&self, subject: &str) -> String {
        let (tables, names) = (self.maps.tables(), self.sync.names());
        match subject {
            "services" => text(subjects::services::rows(&tables, &names).unwrap()),
            "sources" => text(subjects::sources::rows(&tables, &names).unwrap()),
            "backends" => text(subjects::backends::rows(&tables, &names).unwrap()),
            _ => self.problems(),
        }
    }

    fn problems(&self) -> String {
        let mut lines = String::new();
        for ((kind, name), problems) in self.store.problems() {
            for problem in problems {
                writeln!(lines, "{kind} {name}: {problem}").unwrap();
            }
        }
        let folder = format!("{}/", self.folder.path().display());
        let error = self.store.status().borrow().error.clone();
        for error in error.iter().flat_map(|e| e.split("; ")) {
            writeln!(lines, "{}", error.replace(&folder, "")).unwrap();
        }
        for (name, error) in &self.report.failed {
            writeln!(lines, "{name}: {error}").unwrap();
        }
        for (name, service) in &self.store.read().services {
            for reason in desired::unserved(service, &Place::default()) {
                writeln!(lines, "{name}: not served: {reason}").unwrap();
            }
        }
        lines
    }

    /// A new agent on the same maps; what both have must keep its ids.
    fn restart(&mut self) {
        let before = self.ids();
        self.store = Store::new();
        self.changes = Changes::new(Arc::clone(&self.store), Duration::ZERO);
        self.reader = Reader::new(self.folder.path().to_owned(), NODE);
        self.sync = agent(&self.maps);
        self.settle();
        for (what, ids) in self.ids() {
            if let Some(known) = before.get(&what) {
                assert_eq!(*known, ids, "ids of {what}");
            }
        }
    }

    /// Ids of all backends and frontends.
    fn ids(&self) -> BTreeMap<String, Vec<u32>> {
        let maps = &self.maps;
        let mut ids = BTreeMap::new();
        for (id, backend) in maps.backends4.entries().unwrap() {
            ids.insert(format!("{backend:?}"), vec![id]);
        }
        for (id, backend) in maps.backends6.entries().unwrap() {
            ids.insert(format!("{backend:?}"), vec![id]);
        }
        let mut frontend = |key: String, f: proxy_common::frontends::Frontend| {
            ids.insert(key, vec![f.service, f.internal.id, f.external.id]);
        };
        for (key, value) in maps.frontends4.entries().unwrap() {
            frontend(format!("{key:?}"), value);
        }
        for (key, value) in maps.frontends6.entries().unwrap() {
            frontend(format!("{key:?}"), value);
        }
        ids
    }

    /// Nothing observed, nothing left.
    fn end(mut self) {
        for file in fs::read_dir(self.folder.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        self.settle();
        assert!(self.store.complete().has(&Kind::ALL));
        for (map, entries) in self.maps.counts().unwrap() {
            assert_eq!(entries, 0, "{map} is not empty in the end");
        }
    }
}

fn agent(maps: &MemoryMaps) -> ServiceSync {
    let sync = ServiceSync::new(maps.tables(), NODE).unwrap();
    sync.with_grace(Duration::ZERO)
}

fn text<T: Row>(rows: Vec<T>) -> String {
    if rows.is_empty() {
        return "(empty)\n".to_owned();
    }
    let mut text = Vec::new();
    render(Format::Table, rows, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}
