//! Where the programs under test are.

use std::{path::PathBuf, sync::OnceLock};

use anyhow::{Context as _, Result, ensure};

/// Set once by a task that has built the programs.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Names the folder that holds the programs of this run; the first caller decides.
pub fn use_programs_in(folder: PathBuf) {
    FOLDER.get_or_init(|| folder);
}

/// Path of one of our programs: in the folder set by [`use_programs_in`], else in `$WEIR_PROGRAMS`, else
/// beside the running test.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder = match (FOLDER.get(), std::env::var_os("WEIR_PROGRAMS")) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => PathBuf::from(folder),
        (None, None) => target_folder()?,
    };
    let path = std::path::absolute(folder.join(name)).context("name the folder of programs")?;
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
