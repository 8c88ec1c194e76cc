//! Data sets: images as bytes, ways to load them, and batches that never make training wait.
//!
//! | `--data` | images | split | source |
//! | --- | --- | --- | --- |
//! | `digits` | 1 x 8 x 8, 10 classes | rows 0..1437 train, 1437..1797 test | embedded (UCI, CC BY 4.0) |
//! | `mnist` | 1 x 28 x 28, 10 classes | official | IDX files, raw or `.gz` |
//! | `cifar10` | 3 x 32 x 32, 10 classes | official | binary version, unpacked or `.tar.gz` |
//! | a folder | any one size, grey or RGB | its `train/` and `test/` | `train/<class>/*.png` or `.jpg` |

mod batches;
mod cifar;
mod digits;
mod download;
mod folder;
mod idx;
mod normalization;
pub mod picture;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use batches::{Augmentation, Batch, Loader};
pub use download::{File, OFFICIAL, Official, Progress, fetch, verify};
pub use normalization::Normalization;

/// Why data could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{path}: {found}; {expected}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A data set is neither there nor could it be downloaded.
    #[error("{message}")]
    Missing {
        /// Files, checksums and where to put them.
        message: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        DataError::Io { path: path.into(), source }
    }

    pub(crate) fn content(path: &Path, found: impl Into<String>, expected: impl Into<String>) -> Self {
        DataError::Content { path: path.into(), found: found.into(), expected: expected.into() }
    }
}

/// Images of one size with their labels.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// NCHW bytes.
    pub pixels: Arc<Vec<u8>>,
    /// Class numbers.
    pub labels: Arc<Vec<u32>>,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of image `index`, CHW.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_len()..(index + 1) * self.image_len()]
    }

    /// The first `count` images, or all if there are fewer.
    pub fn first(&self, count: usize) -> Dataset {
        let count = count.min(self.len());
        Dataset {
            shape: self.shape,
            pixels: Arc::new(self.pixels[..count * self.image_len()].to_vec()),
            labels: Arc::new(self.labels[..count].to_vec()),
        }
    }
}

/// A training set, a test set and what belongs to both.
#[derive(Clone, Debug)]
pub struct Split {
    /// `digits`, `mnist`, `cifar10`, or the folder's name.
    pub name: String,
    /// For training.
    pub train: Dataset,
    /// For testing.
    pub test: Dataset,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How bytes become the network's input.
    pub normalization: Normalization,
}

/// Loads what `--data` names; `dir` is where data sets are looked for. A missing official set is downloaded.
///
/// # Errors
/// Files that are missing, damaged or of the wrong kind: the message names the file and what would be right.
pub fn load(data: &str, dir: &Path, progress: &dyn Progress) -> Result<Split, DataError> {
    match data {
        "digits" => Ok(digits::load()),
        "mnist" => idx::load(&download::find_or_fetch("mnist", dir, progress)?),
        "cifar10" => cifar::load(&download::find_or_fetch("cifar10", dir, progress)?),
        path if Path::new(path).is_dir() => folder::load(Path::new(path)),
        other => Err(DataError::Missing {
            message: format!(
                "--data {other} is neither digits, mnist, cifar10 nor a folder; \
                 an image folder holds train/<class>/*.png|jpg and test/<class>/*.png|jpg"
            ),
        }),
    }
}

/// The user's cache folder for data sets: `$XDG_CACHE_HOME/iresnet` or `~/.cache/iresnet`.
pub fn default_dir() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap_or_default().join("iresnet")
}
