//! One file a subcommand: options in, library calls, results out.

pub mod bench;
pub mod certify;
pub mod data;
pub mod encode;
pub mod evaluate;
mod images;
pub mod invert;
pub mod reproduce;
pub mod spectrum;
pub mod summary;
pub mod train;

use std::path::Path;

use anyhow::{Result, anyhow};

/// How a command ended, as an exit code.
pub enum Verdict {
    /// Done: 0.
    Done,
    /// A checked claim does not hold, an image was not inverted, or a training diverged: 3.
    ClaimFails,
    /// Ctrl-C, with all work saved: 130, as shells have it.
    Stopped,
}

/// Makes the folder for a command's results.
fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| anyhow!("cannot make the folder {}: {error}", path.display()))
}
