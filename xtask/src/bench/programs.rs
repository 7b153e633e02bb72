//! Which agent, proxyctl and plugin are measured.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::build;

/// What every bench that runs whole programs is asked about them.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Programs {
    /// Measure programs from this folder and build nothing.
    #[arg(long)]
    programs: Option<PathBuf>,
}

impl Programs {
    /// Has all nodes made from now on run them; builds them unless there is a folder.
    pub(crate) fn choose(&self) -> Result<()> {
        weir_world::use_programs_in(match &self.programs {
            Some(folder) => folder
                .canonicalize()
                .context("find the folder of programs")?,
            None => build::folder("lab")?,
        });
        Ok(())
    }
}
