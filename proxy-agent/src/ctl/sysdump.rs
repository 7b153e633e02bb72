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
    let path = args.file.clone().unwrap_or_else(|| name(&scene));
    let failed = |error: io::Error| {
        CtlError::new(
            Exit::Failed,
            format!("write {}: {error}", path.display()),
            "name a file in a folder that can be written, or `-` for standard output",
        )
    };
    if path == Path::new("-") {
        let piece = fill(Vec::new(), &scene, &looks, args)
            .await
            .map_err(failed)?;
        out.write_all(&piece)?;
        return Ok(Exit::Ok);
    }
    // What is in it is for whoever may look at the node.
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&path).map_err(failed)?;
    fill(file, &scene, &looks, args).await.map_err(failed)?;
    writeln!(out, "{}", path.display())?;
    Ok(Exit::Ok)
}

fn name(scene: &Scene) -> PathBuf {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("weir-sysdump-{}-{time}.tar.gz", scene.config.node_name).into()
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
