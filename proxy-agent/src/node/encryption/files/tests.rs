use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::node::encryption::key::{MODE, PublicKey};

fn at(boot: &str, seconds: u64) -> Made {
    Made {
        boot: boot.to_owned(),
        seconds,
    }
}

const NOBODY: Shown = Shown {
    own: None,
    shared: false,
};

/// A node with a device, whose Node shows what it publishes.
struct Bed {
    folder: tempfile::TempDir,
    files: Files,
    device: Option<PrivateKey>,
    own: Option<PublicKey>,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            files: Files::of(&folder.path().join("run")),
            folder,
            device: None,
            own: None,
        }
    }

    fn turn(&mut self, rotation: Duration, now: &Made) -> anyhow::Result<Keys> {
        let shown = Shown {
            own: self.own,
            shared: false,
        };
        let keys = self
            .files
            .turn(self.device.as_ref(), rotation, now, shown)?;
        self.device = Some(keys.present.clone());
        Ok(keys)
    }

    /// The key in use once all that is published is seen.
    fn settled(&mut self, rotation: Duration, now: &Made) -> PrivateKey {
        loop {
            let keys = self.turn(rotation, now).unwrap();
            let told = keys.next.as_ref().unwrap_or(&keys.present).public();
            if self.own.replace(told) == Some(told) && keys.next.is_none() {
                return keys.present;
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }
}

#[test]
fn the_age_of_a_key_is_told_by_no_calendar() {
    let mut bed = Bed::new();
    let path = bed.path(PRESENT);
    let day = Duration::from_hours(24);
    let first = bed.settled(day, &at("a", 100));
    // The calendar steps both ways.
    for years in [-20_i64, 20] {
        let file = fs::File::options().write(true).open(&path).unwrap();
        let step = Duration::from_hours(years.unsigned_abs() * 24 * 365);
        let now = std::time::SystemTime::now();
        let stepped = if years < 0 { now - step } else { now + step };
        file.set_modified(stepped).unwrap();
        assert_eq!(bed.settled(day, &at("a", 100 + 86_399)), first, "{years}");
    }
    let second = bed.settled(day, &at("a", 100 + 86_400));
    assert_ne!(second, first);
    assert_eq!(bed.settled(day, &at("a", 100 + 86_401)), second);
    let third = bed.settled(day, &at("b", 5));
    assert_ne!(third, second, "of an earlier boot");
    assert_eq!(bed.settled(day, &at("b", 6)), third);
    // As a former version left it.
    fs::remove_file(Made::file(&path)).unwrap();
    assert_eq!(bed.settled(day, &at("b", 7)), third);
    assert_eq!(bed.settled(day, &at("b", 7 + 86_399)), third);
    assert_ne!(bed.settled(day, &at("b", 7 + 86_400)), third);
}

#[test]
fn a_key_stays_until_it_is_old_or_gone() {
    let mut bed = Bed::new();
    let (day, never) = (Duration::from_hours(24), Duration::ZERO);
    let now = at("a", 1);
    let first = bed.settled(never, &now);
    for name in [PRESENT, "wireguard.made"] {
        assert!(bed.path(name).exists(), "{name}");
    }
    let mode = fs::metadata(bed.path(PRESENT))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, MODE);
    assert_eq!(bed.settled(day, &now), first);
    let late = at("a", 2 * 86_400);
    assert_eq!(bed.settled(never, &late), first);
    let second = bed.settled(day, &late);
    assert_ne!(second, first);
    assert_eq!(bed.settled(day, &late), second);
    fs::remove_file(bed.path(PRESENT)).unwrap();
    assert_ne!(bed.settled(day, &late), second);
}

/// It is another one only when the Node shows that; meanwhile the next one stays the same, whoever is killed.
#[test]
fn a_next_key_waits_until_others_can_know_it() {
    for removed in [false, true] {
        let mut bed = Bed::new();
        let day = Duration::from_hours(24);
        let first = bed.settled(day, &at("a", 1));
        if removed {
            fs::remove_file(bed.path(PRESENT)).unwrap();
        }
        let late = at("a", if removed { 2 } else { 2 * 86_400 });
        let keys = bed.turn(day, &late).unwrap();
        let next = keys.next.clone().unwrap();
        assert_eq!(keys.present, first);
        assert_ne!(next, first);
        let mode = fs::metadata(bed.path(NEXT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        for _ in 0..3 {
            assert_eq!(bed.turn(day, &late).unwrap(), keys);
        }
        bed.own = Some(next.public());
        let keys = bed.turn(day, &late).unwrap();
        assert_eq!((keys.present, keys.next), (next, None));
        assert!(!bed.path(NEXT).exists());
    }
}

#[test]
fn what_is_no_key_is_neither_used_nor_replaced() {
    for name in [PRESENT, NEXT] {
        let bed = Bed::new();
        let turn = || bed.files.turn(None, Duration::ZERO, &at("a", 1), NOBODY);
        turn().unwrap();
        let path = bed.path(name);
        fs::write(&path, "AAAA\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE)).unwrap();
        let said = turn().unwrap_err();
        assert!(said.to_string().contains("hint: remove it"), "{said:#}");
        fs::remove_file(&path).unwrap();
        turn().unwrap();
        fs::write(&path, "AAAA\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let said = turn().unwrap_err();
        assert!(
            said.to_string().contains("may be read by others"),
            "{said:#}"
        );
    }
}
