//! Reading and writing maps.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    ptr,
};

use aya::Pod;

use super::object::MapInfo;
use super::raw::{Command, address, bpf, bpf_fd};

#[repr(C)]
struct ElementAttr {
    map: u32,
    pad: u32,
    key: u64,
    // Value, or place of the next key.
    value: u64,
    flags: u64,
}

#[repr(C)]
struct BatchAttr {
    position: u64,
    next_position: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
struct CreateAttr {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// Creates an array.
pub fn create_array(value_size: u32, max_entries: u32) -> io::Result<OwnedFd> {
    const ARRAY: u32 = 2;
    create(&MapInfo {
        kind: ARRAY,
        key_size: 4,
        value_size,
        max_entries,
        ..MapInfo::default()
    })
}

/// Creates a map like this.
pub fn create(info: &MapInfo) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        kind: info.kind,
        key_size: info.key_size,
        value_size: info.value_size,
        max_entries: info.max_entries,
        flags: info.flags,
    };
    // SAFETY: the attribute holds no addresses, and the call returns a descriptor.
    unsafe { bpf_fd(Command::MapCreate, &mut attr) }
}

/// A value in which nothing is set.
pub fn zeroed<T: Pod>() -> T {
    // SAFETY: every byte pattern is valid for plain old data.
    unsafe { mem::zeroed() }
}

/// The bytes of a value.
pub fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: plain old data has no uninitialised bytes.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The value that these words are; none if it is of another size.
pub fn from_words<T: Pod>(words: &[u64]) -> Option<T> {
    if size_of_val(words) != size_of::<T>() {
        return None;
    }
    // SAFETY: as many initialised bytes as the value has, and every byte pattern is valid for plain old data.
    Some(unsafe { ptr::read_unaligned(words.as_ptr().cast()) })
}

/// The value under a key. `K` and `V` must have the sizes of the map; the caller has compared them.
pub fn lookup<K: Pod, V: Pod>(map: impl AsFd, key: &K) -> io::Result<Option<V>> {
    let mut value: V = zeroed();
    let found = lookup_into(map, key, ptr::from_mut(&mut value).cast())?;
    Ok(found.then_some(value))
}

/// The values of all possible CPUs under an index of a per-CPU array. Values of a size that is no multiple of
/// eight are not supported.
pub fn lookup_per_cpu<V: Pod>(map: impl AsFd, index: u32, cpus: usize) -> io::Result<Vec<V>> {
    let mut values = vec![zeroed::<V>(); cpus];
    lookup_into(map, &index, values.as_mut_ptr().cast())?;
    Ok(values)
}

fn lookup_into<K: Pod>(map: impl AsFd, key: &K, value: *mut u8) -> io::Result<bool> {
    let mut attr = element(&map, key, value);
    // SAFETY: key and value are valid, and as large as the map's.
    let result = unsafe { bpf(Command::MapLookup, &mut attr) };
    absent_is_none(result.map(drop)).map(|found| found.is_some())
}

/// Writes a value under a key, new or not.
pub fn update<K: Pod, V: Pod>(map: impl AsFd, key: &K, value: &V) -> io::Result<()> {
    let mut attr = element(&map, key, ptr::from_ref(value).cast());
    // SAFETY: key and value are valid, and as large as the map's.
    unsafe { bpf(Command::MapUpdate, &mut attr) }.map(drop)
}

/// Writes a value under a key that is not there; false if it is.
pub fn insert<K: Pod, V: Pod>(map: impl AsFd, key: &K, value: &V) -> io::Result<bool> {
    // `BPF_NOEXIST` (`include/uapi/linux/bpf.h`).
    const NO_EXIST: u64 = 1;
    let mut attr = ElementAttr {
        flags: NO_EXIST,
        ..element(&map, key, ptr::from_ref(value).cast())
    };
    // SAFETY: key and value are valid, and as large as the map's.
    match unsafe { bpf(Command::MapUpdate, &mut attr) } {
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        written => written.map(|_| true),
    }
}

/// Removes a key; true if it was there.
pub fn delete<K: Pod>(map: impl AsFd, key: &K) -> io::Result<bool> {
    let mut attr = element(&map, key, ptr::null());
    // SAFETY: the key is valid, and as large as the map's.
    let result = unsafe { bpf(Command::MapDelete, &mut attr) };
    absent_is_none(result.map(drop)).map(|found| found.is_some())
}

/// The key after another one, or the first.
pub fn next_key<K: Pod>(map: impl AsFd, key: Option<&K>) -> io::Result<Option<K>> {
    let mut next: K = zeroed();
    let mut attr = ElementAttr {
        map: map.as_fd().as_raw_fd().cast_unsigned(),
        pad: 0,
        key: key.map_or(0, |k| address(ptr::from_ref(k))),
        value: address(ptr::from_mut(&mut next)),
        flags: 0,
    };
    // SAFETY: both keys are valid, and as large as the map's.
    let result = unsafe { bpf(Command::MapNextKey, &mut attr) };
    Ok(absent_is_none(result.map(drop))?.map(|()| next))
}

/// Reads a piece of a map. `position` is opaque, at least as large as a key, and moves on; `started` tells
/// whether it holds anything yet. Returns how many pairs were read and whether there may be more.
pub fn lookup_batch<K: Pod, V: Pod>(
    map: impl AsFd,
    position: &mut [u8],
    started: bool,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, bool)> {
    assert!(keys.len() == values.len() && position.len() >= size_of::<K>().max(8));
    let mut next = position.to_vec();
    let mut attr = BatchAttr {
        position: if started {
            address(position.as_ptr())
        } else {
            0
        },
        next_position: address(next.as_mut_ptr()),
        keys: address(keys.as_mut_ptr()),
        values: address(values.as_mut_ptr()),
        count: keys.len() as u32,
        map: map.as_fd().as_raw_fd().cast_unsigned(),
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: the buffers are as long as count says and their elements as large as the map's.
    let result = unsafe { bpf(Command::MapLookupBatch, &mut attr) };
    let more = absent_is_none(result.map(drop))?.is_some();
    position.copy_from_slice(&next);
    Ok((attr.count as usize, more))
}

/// Writes values under keys, new or not, in their order; gives how many were written until one was refused, and why. A kernel
/// may refuse all for want of memory, or because it has no batches for maps of this kind.
pub fn update_batch<K: Pod, V: Pod>(
    map: impl AsFd,
    keys: &[K],
    values: &[V],
) -> (usize, io::Result<()>) {
    assert_eq!(keys.len(), values.len());
    let mut attr = BatchAttr {
        position: 0,
        next_position: 0,
        keys: address(keys.as_ptr()),
        values: address(values.as_ptr()),
        count: keys.len() as u32,
        map: map.as_fd().as_raw_fd().cast_unsigned(),
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: the buffers are as long as count says and their elements as large as the map's; both are only read.
    let result = unsafe { bpf(Command::MapUpdateBatch, &mut attr) };
    match result {
        Ok(_) => (keys.len(), Ok(())),
        // Kernels that refuse before the first entry may leave the count as it was (until Linux 6.8).
        Err(error) if attr.count as usize >= keys.len() => (0, Err(error)),
        Err(error) => (attr.count as usize, Err(error)),
    }
}

/// Gives every key with its value, as bytes, to `each`, until that has enough (false). Values of per-CPU maps are those of all
/// CPUs, each padded to eight bytes.
pub fn each_raw(
    map: impl AsFd,
    info: &MapInfo,
    mut each: impl FnMut(&[u8], &[u8]) -> bool,
) -> io::Result<()> {
    // `BPF_MAP_TYPE_PERCPU_HASH`, `_ARRAY`, `_LRU_PERCPU_HASH`.
    const PER_CPU: [u32; 3] = [5, 6, 10];
    let mut length = info.value_size as usize;
    if PER_CPU.contains(&info.kind) {
        length = length.next_multiple_of(8) * super::cpus()?;
    }
    let (mut key, mut value) = (vec![0; info.key_size as usize], vec![0; length]);
    let mut started = false;
    loop {
        let mut next = key.clone();
        let mut attr = raw(&map, started.then_some(key.as_slice()), &mut next);
        // SAFETY: both keys are as large as the map's.
        let result = unsafe { bpf(Command::MapNextKey, &mut attr) };
        if absent_is_none(result.map(drop))?.is_none() {
            return Ok(());
        }
        key = next;
        started = true;
        let mut attr = raw(&map, Some(&key), &mut value);
        // SAFETY: key and value are as large as the map's, and per-CPU values have room for all CPUs.
        let result = unsafe { bpf(Command::MapLookup, &mut attr) };
        // Removed meanwhile.
        if absent_is_none(result.map(drop))?.is_some() && !each(&key, &value) {
            return Ok(());
        }
    }
}

fn raw(map: &impl AsFd, key: Option<&[u8]>, value: &mut [u8]) -> ElementAttr {
    ElementAttr {
        map: map.as_fd().as_raw_fd().cast_unsigned(),
        pad: 0,
        key: key.map_or(0, |key| address(key.as_ptr())),
        value: address(value.as_mut_ptr()),
        flags: 0,
    }
}

fn element<K: Pod>(map: &impl AsFd, key: &K, value: *const u8) -> ElementAttr {
    ElementAttr {
        map: map.as_fd().as_raw_fd().cast_unsigned(),
        pad: 0,
        key: address(ptr::from_ref(key)),
        value: address(value),
        flags: 0,
    }
}

fn absent_is_none(result: io::Result<()>) -> io::Result<Option<()>> {
    match result {
        Ok(()) => Ok(Some(())),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
