//! Programs that are loaded, whoever loaded them.

use std::{io, os::fd::OwnedFd};

use super::{
    object::read_info,
    raw::{Command, address, bpf, bpf_fd},
};

/// Maps of a program that are looked at; ours use fewer.
const MAPS: usize = 128;

#[repr(C)]
#[derive(Default)]
struct IdAttr {
    id: u32,
    next: u32,
    flags: u32,
}

/// `struct bpf_prog_info`, its beginning.
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
    })
}
