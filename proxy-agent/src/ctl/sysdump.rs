//! `proxyctl sysdump`: all that a report of a fault needs, in one file, without secrets.

pub mod redact;

mod archive;
mod data;
mod files;
mod host;
mod table;

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    Context, CtlError, Exit,
    args::{CheckArgs, SysdumpArgs},
    check::scene::Scene,
    cluster::about,
    output::Output,
};
use archive::Archive;
use redact::Redactor;

/// Bytes of a mebibyte.
const MIB: usize = 1 << 20;

/// Writes the file; prints its name.
pub async fn run(
    context: &Context,
    args: &SysdumpArgs,
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let looks = CheckArgs {
        config: args.config.clone(),
        ..CheckArgs::default()
    };
    let scene = Scene::look(context, &looks).await;
    let path = args.file.clone();
    let path = path.unwrap_or_else(|| name(&scene.config.node_name));
    if path == Path::new("-") {
        let piece = fill(Vec::new(), &scene, &looks, args)
            .await
            .map_err(|error| failed(&path, &error))?;
        out.write_all(&piece)?;
        return Ok(Exit::Ok);
    }
    let file = create(&path)?;
    let filled = fill(file, &scene, &looks, args).await;
    filled.map_err(|error| failed(&path, &error))?;
    writeln!(out, "{}", path.display())?;
    Ok(Exit::Ok)
}

/// Of a node, now.
pub(super) fn name(node: &str) -> PathBuf {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("weir-sysdump-{node}-{time}.tar.gz").into()
}

/// Writes what another `proxyctl` has made.
pub(super) fn write(path: &Path, made: &[u8]) -> Result<(), CtlError> {
    let written = create(path)?.write_all(made);
    written.map_err(|error| failed(path, &error))
}

/// What another `proxyctl` has made, with files that were to be had here; in the place of those that it had under these names.
pub(super) fn with(
    made: &[u8],
    args: &SysdumpArgs,
    files: Vec<about::File>,
) -> Result<Vec<u8>, CtlError> {
    let add = || -> io::Result<Vec<u8>> {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let limit = (args.limit as usize * MIB, &names[..]);
        // Those of the node are not known here; what looks like one is.
        let redactor = Redactor::new(Vec::new(), Vec::new());
        let mut archive = Archive::after(made, Vec::new(), redactor, limit)?;
        for (name, got) in files {
            archive.add(name, archive::Keep::End, got)?;
        }
        archive.finish()
    };
    add().map_err(|error| {
        CtlError::new(
            Exit::Failed,
            format!("read the sysdump that was made there: {error}"),
            "is proxyctl there of another version? try: proxyctl sysdump on the node",
        )
    })
}

/// What is in it is for whoever may look at the node.
fn create(path: &Path) -> Result<File, CtlError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> CtlError {
    CtlError::new(
        Exit::Failed,
        format!("write {}: {error}", path.display()),
        "name a file in a folder that can be written, or `-` for standard output",
    )
}

async fn fill<W: Write>(
    to: W,
    scene: &Scene,
    looks: &CheckArgs,
    args: &SysdumpArgs,
) -> io::Result<W> {
    let redactor = Redactor::new(files::secrets(scene), files::public(scene));
    let mut archive = Archive::new(to, redactor, args.limit as usize * MIB);
    for item in table::ITEMS {
        let got = item.from.get(scene, looks).await;
        archive.add(item.name, item.keep, got)?;
    }
    for (name, keep, got) in files::found(scene, &args.log) {
        archive.add(&name, keep, got)?;
    }
    for (name, got) in data::raw_maps(scene) {
        archive.add(&name, archive::Keep::Beginning, got)?;
    }
    archive.finish()
}
