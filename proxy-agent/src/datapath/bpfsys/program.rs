//! Programs that are loaded, whoever loaded them.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use serde::Serialize;

use super::{
    object::read_info,
    raw::{Command, IdAttr, address, bpf, bpf_fd},
};

/// Maps of a program that are looked at; ours use fewer.
const MAPS: usize = 128;

/// `struct bpf_prog_info`, its beginning, as of Linux 5.16.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_length: u32,
    translated_length: u32,
    jited: u64,
    translated: u64,
    loaded: u64,
    user: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
    ifindex: u32,
    flags: u32,
    network: [u64; 2],
    functions: [u32; 2],
    function_addresses: [u64; 2],
    types: u32,
    function_record: u32,
    function_infos: u64,
    infos: [u32; 2],
    lines: [u64; 2],
    line_records: [u32; 4],
    tags: u64,
    run_time: u64,
    runs: u64,
    misses: u64,
    verified: u32,
    pad: u32,
}

/// What the kernel counts of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// `BPF_PROG_TYPE_*`.
    pub kind: u32,
    /// Hash of its instructions.
    pub tag: String,
    /// User who loaded it.
    pub user: u32,
    /// Nanoseconds from boot until it was loaded.
    pub loaded_nanoseconds: u64,
    /// Bytes of instructions, once verified.
    pub translated_bytes: u32,
    /// Bytes of machine code; 0: it is interpreted.
    pub compiled_bytes: u32,
    /// Instructions that the verifier looked at.
    pub verified_instructions: u32,
    /// Runs, if they are counted (`kernel.bpf_stats_enabled`).
    pub runs: u64,
    /// Nanoseconds that they took.
    pub run_nanoseconds: u64,
}

/// A loaded program.
#[derive(Debug)]
pub struct Loaded {
    /// It.
    pub fd: OwnedFd,
    /// Its name, as far as the kernel keeps it (15 bytes).
    pub name: String,
    /// Ids of the maps that it uses.
    pub maps: Vec<u32>,
    /// What the kernel counts of it.
    pub figures: Figures,
}

/// The id of the program that was loaded after that with this one.
pub fn after(id: u32) -> io::Result<Option<u32>> {
    let mut attr = IdAttr {
        id,
        ..IdAttr::default()
    };
    // SAFETY: the attribute holds no addresses.
    match unsafe { bpf(Command::ProgramNextId, &mut attr) } {
        Ok(_) => Ok(Some(attr.next)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The program of an id; none if it is gone.
pub fn by_id(id: u32) -> io::Result<Option<Loaded>> {
    let mut attr = IdAttr {
        id,
        ..IdAttr::default()
    };
    // SAFETY: the attribute holds no addresses, and the call returns a descriptor.
    match unsafe { bpf_fd(Command::ProgramById, &mut attr) } {
        Ok(fd) => describe(fd).map(Some),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the kernel has compiled a program (JIT), so that it is not interpreted.
pub fn is_compiled(program: impl AsFd) -> io::Result<bool> {
    let mut info = Info::default();
    // SAFETY: Info is made of integers, and names no buffers.
    unsafe { read_info(&program, &mut info) }?;
    Ok(info.jited_length > 0)
}

/// The id of a program.
pub fn id(program: impl AsFd) -> io::Result<u32> {
    let mut info = Info::default();
    // SAFETY: Info is made of integers, and names no buffers.
    unsafe { read_info(&program, &mut info) }?;
    Ok(info.id)
}

fn describe(fd: OwnedFd) -> io::Result<Loaded> {
    let mut maps = vec![0_u32; MAPS];
    let mut info = Info {
        map_count: MAPS as u32,
        maps: address(maps.as_mut_ptr()),
        ..Info::default()
    };
    // SAFETY: Info is made of integers, and names a buffer of as many ids as it says.
    unsafe { read_info(&fd, &mut info) }?;
    maps.truncate(info.map_count as usize);
    let length = info.name.iter().position(|byte| *byte == 0);
    let name = &info.name[..length.unwrap_or(info.name.len())];
    Ok(Loaded {
        fd,
        name: String::from_utf8_lossy(name).into_owned(),
        maps,
        figures: Figures {
            kind: info.kind,
            tag: format!("{:016x}", u64::from_be_bytes(info.tag)),
            user: info.user,
            loaded_nanoseconds: info.loaded,
            translated_bytes: info.translated_length,
            compiled_bytes: info.jited_length,
            verified_instructions: info.verified,
            runs: info.runs,
            run_nanoseconds: info.run_time,
        },
    })
}
