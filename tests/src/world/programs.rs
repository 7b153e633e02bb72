//! Where the programs under test are.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

/// Path of one of our programs: in `$WEIR_PROGRAMS` if set, else beside the running test or task.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("WEIR_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => target_folder()?,
    };
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} is absent: run `cargo xtask build`, or `cargo build` for debug builds",
        path.display()
    );
    Ok(path)
}

/// `target/PROFILE`, of which a test runs in `deps`.
fn target_folder() -> Result<PathBuf> {
    let mut folder = std::env::current_exe().context("find the running program")?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder)
}
