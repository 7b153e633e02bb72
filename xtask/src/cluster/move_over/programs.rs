//! Weir's programs: in the nodes' runtimes, and at a person's hand on a node.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::build;
use crate::cluster::lab::{Lab, Node};
use crate::cluster::place::Place;
use crate::cluster::runtime::Runtime;
use crate::cluster::shape::Shape;
use crate::{image, run, say};

/// The profile that they are built with.
const PROFILE: &str = "lab";

/// Puts the image where the nodes' runtimes find it.
pub(super) fn import(lab: &Lab, shape: Shape) -> Result<()> {
    let archive = image::weir::write(PROFILE, image::weir::NAME)?;
    let runtime = Runtime::find()?;
    say::step("import Weir's image", || {
        shape
            .all()
            .try_for_each(|node| runtime.import(lab, node, &archive))
    })
}

/// What a program of ours on a node said.
pub(super) struct Said {
    /// Its exit code.
    pub(super) code: i32,
    /// Its data.
    pub(super) out: String,
    /// Its talk.
    pub(super) err: String,
}

impl Said {
    /// An error unless it ended with this code.
    pub(super) fn ended(self, code: i32) -> Result<Self> {
        let Self {
            code: was,
            out,
            err,
        } = &self;
        ensure!(*was == code, "ended with {was}, not {code}: {out}{err}");
        Ok(self)
    }
}

/// Runs one on a node, as root.
pub(super) fn on_node(lab: &Lab, node: Node, program: &str, args: &[&str]) -> Result<Said> {
    let mut command = Place::node(lab, node).command(build::place(PROFILE).join(program));
    said(command.args(args))
}

/// Runs it, whatever it ends with.
pub(super) fn said(command: &mut Command) -> Result<Said> {
    let done = command
        .output()
        .with_context(|| format!("cannot start `{}`", run::shown(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said {
        code: done.status.code().unwrap_or(-1),
        out: text(&done.stdout),
        err: text(&done.stderr),
    })
}
