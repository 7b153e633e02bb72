//! Loaded objects that another bench has used, with their maps emptied: the verifier takes far longer than a test, on an
//! emulated machine above all.

use std::{
    io,
    ops::{Deref, DerefMut},
    os::fd::AsFd,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use aya::{Ebpf, maps::Map};
use proxy_agent::datapath::bpfsys::{
    map::{delete, next_key, update, zeroed},
    object::map_info,
    words::MappedWords,
};

/// How much room for flows an object has; none says that it is what it has by itself.
type Slots = Option<u32>;

/// Those that nobody uses now.
static SPARE: Mutex<Vec<(Slots, Ebpf)>> = Mutex::new(Vec::new());

/// A key of any map: the kernel takes of it what the map's keys have.
type AnyKey = [u64; 8];
/// A value of any array, for all processors.
type AnyValue = [u64; 4096];

/// `BPF_F_MMAPABLE` (`include/uapi/linux/bpf.h`).
const MMAPABLE: u32 = 1 << 10;

/// A loaded object that is given back.
#[derive(Debug)]
pub(super) struct Lent {
    /// Empty only while it is given back.
    ebpf: Option<Ebpf>,
    /// Whether others may have it, who want that much room.
    again: Option<Slots>,
}

impl Lent {
    /// One for this bench alone.
    pub(super) fn own(ebpf: Ebpf) -> Self {
        Self {
            ebpf: Some(ebpf),
            again: None,
        }
    }

    /// A spare one with so much room and empty maps, or one that `load` makes.
    pub(super) fn spare(slots: Slots, load: impl FnOnce() -> Result<Ebpf>) -> Result<Self> {
        let ebpf = match take(slots) {
            Some(ebpf) => {
                for (name, map) in ebpf.maps() {
                    empty(name, map).with_context(|| format!("empty {name}"))?;
                }
                ebpf
            }
            None => load()?,
        };
        Ok(Self {
            ebpf: Some(ebpf),
            again: Some(slots),
        })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Self { ebpf, again } = self;
        if let (Some(slots), Some(ebpf)) = (again.take(), ebpf.take()) {
            let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
            spare.push((slots, ebpf));
        }
    }
}

fn take(slots: Slots) -> Option<Ebpf> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting = spare.iter().position(|(room, _)| *room == slots)?;
    Some(spare.swap_remove(fitting).1)
}

impl Deref for Lent {
    type Target = Ebpf;

    fn deref(&self) -> &Ebpf {
        self.ebpf.as_ref().expect("not given back yet")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Ebpf {
        self.ebpf.as_mut().expect("not given back yet")
    }
}

/// As it was when it was made.
fn empty(name: &str, map: &Map) -> Result<()> {
    match map {
        // Constants, which nobody changes.
        Map::Array(_) if name.starts_with('.') => Ok(()),
        Map::Array(data) | Map::PerCpuArray(data) => Ok(zero(data.fd())?),
        Map::HashMap(data) | Map::LruHashMap(data) | Map::LpmTrie(data) => {
            Ok(remove_all(data.fd())?)
        }
        // Read to its end by whoever reads it, and gone with its socket.
        Map::RingBuf(_) | Map::SkStorage(_) => Ok(()),
        other => bail!("nobody has said how: {other:?}"),
    }
}

fn zero(map: impl AsFd) -> io::Result<()> {
    let info = map_info(&map)?;
    let words = info.value_size.div_ceil(8) as usize;
    if info.flags & MMAPABLE != 0 {
        let words = MappedWords::new(&map, info.max_entries as usize * words)?;
        let used = (0..words.len()).filter(|index| words.load(*index) != Some(0));
        used.for_each(|index| {
            words.store(index, 0);
        });
        return Ok(());
    }
    let nothing: AnyValue = zeroed();
    let processors = proxy_agent::datapath::bpfsys::cpus()?;
    assert!(words * processors <= nothing.len(), "{info:?}");
    (0..info.max_entries).try_for_each(|index| update(&map, &index, &nothing))
}

fn remove_all(map: impl AsFd) -> io::Result<()> {
    let info = map_info(&map)?;
    assert!(info.key_size as usize <= size_of::<AnyKey>(), "{info:?}");
    while let Some(key) = next_key::<AnyKey>(&map, None)? {
        delete(&map, &key)?;
    }
    Ok(())
}
