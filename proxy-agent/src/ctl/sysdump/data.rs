//! What agent, maps and programs say.

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use super::MIB;
use crate::{
    ctl::{
        args::{DumpArgs, Subject},
        check::scene::Scene,
        dump, live,
        output::{Format, Output},
    },
    datapath::{
        Pins,
        bpfsys::{map, object, program},
    },
};

/// Hexadecimal digits of one map.
const MAP: usize = MIB;
/// Entries of one map that are looked at: each takes two system calls, and arrays have all of theirs, used or not.
const ENTRIES: usize = 1 << 17;

/// As people can read it too.
pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec_pretty(value).map_err(|error| error.to_string())
}

/// What the agent answers.
pub(super) async fn agent(scene: &Scene, path: &str) -> Result<Vec<u8>, String> {
    let answer = scene.context.client.get::<Value>(path).await;
    json(&answer.map_err(|error| error.to_string())?)
}

/// What `proxyctl dump` prints.
pub(super) async fn dump(scene: &Scene, subject: Subject) -> Result<Vec<u8>, String> {
    let mut context = scene.context.clone();
    context.common.bpffs.clone_from(&scene.here.bpffs);
    context.common.instance.clone_from(&scene.config.instance);
    let args = DumpArgs {
        subject,
        service: None,
        raw: scene.agent.is_err(),
        all: true,
        watch: false,
        interval: Duration::from_secs(1),
    };
    let buffer = Buffer::default();
    let mut out = Output::new(Format::Json, buffer.clone());
    let printed = dump::run(&context, &args, &mut out).await;
    printed.map_err(|error| error.message)?;
    Ok(buffer.take())
}

/// Output that is read again.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A loaded program, whosever it is: what others attach matters too.
#[derive(Serialize)]
struct ProgramRow {
    id: u32,
    name: String,
    maps: Vec<u32>,
    #[serde(flatten)]
    figures: program::Figures,
}

/// All programs, with what the verifier and the kernel count of them.
pub(super) fn programs() -> Result<Vec<u8>, String> {
    let mut rows = Vec::new();
    let mut id = 0;
    while let Some(next) = program::after(id).map_err(|error| error.to_string())? {
        id = next;
        let found = program::by_id(id).map_err(|error| error.to_string())?;
        rows.extend(found.map(|found| ProgramRow {
            id,
            name: found.name,
            maps: found.maps,
            figures: found.figures,
        }));
    }
    json(&rows)
}

/// A link of a program.
#[derive(Serialize)]
struct AttachmentRow {
    name: String,
    cgroup: bool,
    target: u64,
    link: u32,
    program: u32,
}

/// All pinned links.
pub(super) fn attachments(scene: &Scene) -> Result<Vec<u8>, String> {
    let mut context = scene.context.clone();
    context.common.bpffs.clone_from(&scene.here.bpffs);
    context.common.instance.clone_from(&scene.config.instance);
    let reader = live::reader(&context).map_err(|error| error.message)?;
    let all = reader.attachments().map_err(|error| error.to_string())?;
    let rows = all.into_iter().map(|a| AttachmentRow {
        name: a.name,
        cgroup: a.cgroup,
        target: a.target,
        link: a.link,
        program: a.program,
    });
    json(&rows.collect::<Vec<_>>())
}

/// Every pinned map, as bytes, whatever version made it.
pub(super) fn raw_maps(scene: &Scene) -> Vec<(String, Result<Vec<u8>, String>)> {
    let folder = match Pins::new(&scene.here.bpffs, &scene.config.instance) {
        Ok(pins) => pins.maps(),
        Err(error) => return vec![("maps/raw".to_owned(), Err(error.to_string()))],
    };
    let names = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()),
        Err(error) => {
            let why = format!("{}: {error}", folder.display());
            return vec![("maps/raw".to_owned(), Err(why))];
        }
    };
    let mut names: Vec<String> = names.collect();
    names.sort();
    let raw = names.into_iter().map(|name| {
        let got = raw_map(&folder.join(&name)).map_err(|error| error.to_string());
        (format!("maps/raw/{name}.txt"), got)
    });
    raw.collect()
}

fn raw_map(path: &Path) -> io::Result<Vec<u8>> {
    let map: OwnedFd = object::open_map(path)?;
    let info = object::map_info(&map)?;
    let mut text = format!("{info:?}\n");
    let (mut seen, mut zeros) = (0_usize, 0_usize);
    map::each_raw(&map, &info, |key, value| {
        seen += 1;
        if value.iter().all(|byte| *byte == 0) {
            zeros += 1;
            return seen < ENTRIES;
        }
        hexadecimal(&mut text, key);
        text.push(' ');
        hexadecimal(&mut text, value);
        text.push('\n');
        text.len() < MAP && seen < ENTRIES
    })?;
    let rest = format!("entries seen: {seen}, of which zeros: {zeros}\n");
    Ok((text + &rest).into_bytes())
}

fn hexadecimal(text: &mut String, bytes: &[u8]) {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
}
