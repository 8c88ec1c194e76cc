//! Data sets: images as bytes, ways to load them, and batches that never make training wait.
//!
//! | `--data` | images | split | source |
//! | --- | --- | --- | --- |
//! | `digits` | 1 x 8 x 8, 10 classes | every fifth of a class test (364) | embedded (UCI, CC BY 4.0) |
//! | `mnist` | 1 x 28 x 28, 10 classes | official | IDX files, raw or `.gz` |
//! | `cifar10` | 3 x 32 x 32, 10 classes | official | binary version, unpacked or `.tar.gz` |
//! | a folder | any one size, grey or RGB | its `train/` and `test/` | `train/<class>/*.png` or `.jpg` |
//!
//! Pixels stay bytes until a batch is made; [`Normalization`] says how bytes become the network's input, and is saved
//! with a run. Grey images are scaled to `[-0.5, 0.5]`; RGB images are first standardised per channel with the training
//! set's mean and deviation. MNIST and CIFAR-10 are looked for in `DIR/<name>` and in `DIR` itself, and downloaded if
//! they are in neither.
//!
//! ```
//! use iresnet::data::{self, Augmentation, Loader};
//!
//! let split = data::load("digits", &data::default_dir(), &())?;
//! let augmentation = Augmentation { shift: 1, flip: false };
//! let (seed, epoch, first_batch) = (0, 0, 0);
//! let mut batches = Loader::train(&split.train, &split.normalization, augmentation, 128, seed, epoch, first_batch);
//! assert_eq!(batches.next().unwrap().images.len(), 128 * split.train.image_len());
//! # Ok::<(), data::DataError>(())
//! ```

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
pub use cifar::CLASSES as CIFAR10_CLASSES;
pub use download::{File, OFFICIAL, Official, Progress, fetch, verify};
pub use normalization::Normalization;

use crate::model::Input;

/// Why data could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused to read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused to write.
    #[error("cannot write {path}: {source}")]
    Write {
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

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        DataError::Write { path: path.into(), source }
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

    /// SHA-256 of pixels and labels, in hexadecimal digits.
    pub fn sha256(&self) -> String {
        let labels: Vec<u8> = self.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        crate::bytes::sha256([self.pixels.as_slice(), &labels])
    }

    fn subset(&self, indices: impl Iterator<Item = usize> + Clone) -> Dataset {
        Dataset {
            shape: self.shape,
            pixels: Arc::new(indices.clone().flat_map(|i| self.image(i).iter().copied()).collect()),
            labels: Arc::new(indices.map(|i| self.labels[i]).collect()),
        }
    }

    /// `count` images at even distances, or all if there are fewer: of every class where classes come one after another.
    pub fn spread(&self, count: usize) -> Dataset {
        self.subset(self.spread_indices(count))
    }

    /// Which images [`Dataset::spread`] takes.
    pub fn spread_indices(&self, count: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let (len, count) = (self.len(), count.min(self.len()));
        (0..count).map(move |i| (2 * i + 1) * len / (2 * count))
    }

    /// All others, and those that [`Dataset::spread`] takes.
    pub fn hold_out(&self, count: usize) -> (Dataset, Dataset) {
        if count == 0 {
            return (self.clone(), self.first(0));
        }
        let mut held_out = vec![false; self.len()];
        self.spread_indices(count).for_each(|i| held_out[i] = true);
        let of = |part| self.subset((0..self.len()).filter(|i| held_out[*i] == part));
        (of(false), of(true))
    }

    /// The first `count` images, or all if there are fewer.
    pub fn first(&self, count: usize) -> Dataset {
        self.subset(0..count.min(self.len()))
    }
}

/// Ends the name of an image folder's data.
pub const FOLDER: &str = " (image folder)";

/// A training set, a test set and what belongs to both.
#[derive(Clone, Debug)]
pub struct Split {
    /// `digits`, `mnist`, `cifar10`, or the folder's name followed by `(image folder)`.
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

impl Split {
    /// What a network for these images is fed.
    pub fn input(&self) -> Input {
        let [channels, height, width] = self.train.shape;
        Input { channels, height, width, classes: self.classes.len() }
    }
}

/// Whether `data` names a data set, not a folder.
pub fn is_named(data: &str) -> bool {
    data == "digits" || OFFICIAL.iter().any(|set| set.name == data)
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
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|d| !d.is_empty())
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_default()
        .join("iresnet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load("digits", dir.path(), &()).unwrap().name, "digits");
        let message = load("svhn", dir.path(), &()).unwrap_err().to_string();
        assert!(message.starts_with("--data svhn is neither digits, mnist, cifar10 nor a folder"), "{message}");
    }

    #[test]
    fn parts_of_a_set_are_its_images() {
        let test = digits::load().test;
        let first = test.first(7);
        assert_eq!((first.len(), first.image(6)), (7, test.image(6)));
        assert_eq!(test.first(1000).len(), 364);
        let spread = test.spread(10);
        assert_eq!((spread.len(), spread.image(3), spread.labels[3]), (10, test.image(127), test.labels[127]));
        let sorted = Dataset { labels: Arc::new((0..364).map(|i| i / 37).collect()), ..test.clone() };
        assert_eq!(*sorted.spread(10).labels, (0..10).collect::<Vec<u32>>(), "every class");
        assert_eq!(test.spread(1000).pixels, test.pixels);
        assert!(test.spread(0).is_empty());
        let (others, held_out) = test.hold_out(100);
        assert_eq!((others.len(), held_out.pixels), (264, test.spread(100).pixels));
        let rest = (0..364).filter(|i| !test.spread_indices(100).any(|j| j == *i));
        assert!(
            rest.enumerate().all(|(i, of)| others.image(i) == test.image(of) && others.labels[i] == test.labels[of])
        );
        assert!(Arc::ptr_eq(&test.hold_out(0).0.pixels, &test.pixels), "no copy");
    }
}
