//! What must hold of the table of flows whatever has happened.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dump, Record, Tuple};

/// Every entry of the index names a flow that has this very key, every flow has its two, no key has two owners.
pub fn consistent(dump: &Dump) -> Result<(), String> {
    let records: BTreeMap<u32, &Record> = dump.records.iter().map(|r| (r.slot, r)).collect();
    let mut owned = BTreeSet::new();
    for entry in &dump.entries {
        let Some(record) = records.get(&entry.slot) else {
            return Err(format!("orphan: {entry:?} names an empty slot"));
        };
        if record.generation != entry.generation {
            return Err(format!("orphan: {entry:?} names another flow: {record:?}"));
        }
        if record.arrives[entry.direction] != entry.tuple {
            return Err(format!("{entry:?} is no key of {record:?}"));
        }
        owned.insert((entry.slot, entry.direction));
    }
    let mut owners: BTreeMap<Tuple, &Record> = BTreeMap::new();
    for record in &dump.records {
        if record.busy {
            return Err(format!("nobody is at work, yet {record:?}"));
        }
        for (direction, tuple) in record.arrives.into_iter().enumerate() {
            if !owned.contains(&(record.slot, direction)) {
                return Err(format!("key {direction} of {record:?} is not in the index"));
            }
            if let Some(other) = owners.insert(tuple, record) {
                return Err(format!("two owners of {tuple:?}: {other:?} and {record:?}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;

    /// Two flows, the keys of the second one last.
    fn sound() -> Dump {
        let mut dump = Dump::default();
        for slot in 0..2 {
            let asked = Tuple {
                protocol: 6,
                from: ([10, 0, 0, 1], 1000 + slot as u16).into(),
                to: ([10, 0, 0, 2], 80).into(),
            };
            let arrives = [asked, asked.reversed()];
            let entry = |direction: usize| Entry {
                tuple: arrives[direction],
                slot,
                direction,
                generation: 7,
            };
            dump.entries.extend([entry(0), entry(1)]);
            dump.records.push(Record {
                slot,
                generation: 7,
                expires: 100,
                arrives,
                replied: false,
                assured: false,
                fin: [false; 2],
                rst: [false; 2],
                ended: false,
                busy: false,
                service: 0,
                backend: 0,
            });
        }
        dump
    }

    fn wrong(change: impl FnOnce(&mut Dump)) -> String {
        let mut dump = sound();
        consistent(&dump).unwrap();
        change(&mut dump);
        consistent(&dump).unwrap_err()
    }

    #[test]
    fn each_kind_of_damage_is_found() {
        let orphan = wrong(|dump| dump.records.truncate(1));
        assert!(orphan.contains("empty slot"), "{orphan}");
        let older = wrong(|dump| dump.records[0].generation = 8);
        assert!(older.contains("another flow"), "{older}");
        let lost = wrong(|dump| dump.entries.truncate(3));
        assert!(lost.contains("not in the index"), "{lost}");
        let foreign = wrong(|dump| dump.entries[0].tuple = dump.entries[2].tuple);
        assert!(foreign.contains("is no key"), "{foreign}");
        let shared = wrong(|dump| {
            dump.records[1].arrives = dump.records[0].arrives;
            dump.entries[2].tuple = dump.entries[0].tuple;
            dump.entries[3].tuple = dump.entries[1].tuple;
        });
        assert!(shared.contains("two owners"), "{shared}");
        let busy = wrong(|dump| dump.records[1].busy = true);
        assert!(busy.contains("at work"), "{busy}");
    }
}
