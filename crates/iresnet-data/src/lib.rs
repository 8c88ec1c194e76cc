//! Data sets: labelled images as bytes, ways to load them, and batches that never make training wait.
//!
//! [`load`] takes a name or a folder:
//!
//! | name | images | split | source |
//! | --- | --- | --- | --- |
//! | `digits` | 1 x 8 x 8, 10 classes | every fifth of a class test (364) | embedded (UCI, CC BY 4.0) |
//! | `mnist` | 1 x 28 x 28, 10 classes | official | IDX files, raw or `.gz` |
//! | `cifar10` | 3 x 32 x 32, 10 classes | official | binary version, unpacked or `.tar.gz` |
//! | a folder | any one size, grey or RGB | its `train/` and `test/` | `train/<class>/*.png` or `.jpg` |
//!
//! ```
//! use iresnet_data::{Augmentation, Loader, default_dir, load};
//!
//! let split = load("digits", &default_dir(), None)?;
//! assert_eq!((split.train.len(), split.test.len()), (1433, 364));
//! let augmentation = Augmentation { shift: 1, flip: false };
//! let (seed, epoch, first_batch) = (0, 0, 0);
//! let mut batches = Loader::train(&split.train, &split.normalization, augmentation, 128, seed, epoch, first_batch);
//! assert_eq!(batches.next().unwrap().images.len(), 128 * split.train.image_len());
//! # Ok::<(), iresnet_data::DataError>(())
//! ```
//!
//! Pixels stay bytes until a batch is made; [`Normalization`] says how bytes become the network's input, and is saved
//! with a run. Grey images are scaled to `[-0.5, 0.5]`; RGB images are first standardised per channel with the training
//! set's mean and deviation. Order and augmentation depend on seed, epoch and image only.
//!
//! MNIST and CIFAR-10 are looked for in `dir/<name>` and in `dir` itself. What needs more than files that are there is a
//! feature; none is on unless asked for:
//!
//! | feature | what |
//! | --- | --- |
//! | `archives` | CIFAR-10 from its `.tar.gz`; without it, unpacked |
//! | `fetch` | `fetch` and `verify`; [`load`] downloads what is missing. Turns `archives` on |
//! | `pictures` | the module `picture`: PNG and JPEG files; folders of them as data sets |

mod batches;
mod cifar;
mod dataset;
mod digits;
#[cfg(feature = "fetch")]
mod download;
mod error;
pub mod files;
#[cfg(feature = "pictures")]
mod folder;
pub mod hash;
mod idx;
mod input;
mod normalization;
mod official;
#[cfg(feature = "pictures")]
pub mod picture;
mod progress;
pub mod random;
mod split;

use std::path::{Path, PathBuf};

pub use batches::{Augmentation, Batch, Loader};
pub use cifar::CLASSES as CIFAR10_CLASSES;
pub use dataset::Dataset;
#[cfg(feature = "fetch")]
pub use download::{fetch, verify};
pub use error::DataError;
pub use input::Input;
pub use normalization::Normalization;
pub use official::{File, OFFICIAL, Official};
pub use progress::Progress;
pub use split::{FOLDER, Split};

/// Loads the data set or folder that `data` names; `dir` is where data sets are looked for.
///
/// A missing official set is downloaded, of which `progress` hears, if this build can.
///
/// # Errors
/// Files that are missing, damaged or of the wrong kind: the message names the file and what would be right.
pub fn load(data: &str, dir: &Path, progress: Progress<'_>) -> Result<Split, DataError> {
    match data {
        "digits" => Ok(digits::load()),
        "mnist" => idx::load(&official_folder("mnist", dir, progress)?),
        "cifar10" => cifar::load(&official_folder("cifar10", dir, progress)?),
        #[cfg(feature = "pictures")]
        folder if Path::new(folder).is_dir() => folder::load(Path::new(folder)),
        #[cfg(not(feature = "pictures"))]
        folder if Path::new(folder).is_dir() => {
            let expected = "build iresnet-data with its feature `pictures`";
            Err(DataError::Unsupported { path: folder.into(), what: "picture files", expected })
        }
        other => Err(DataError::Missing {
            message: format!(
                "data set {other} is neither digits, mnist, cifar10 nor a folder; \
                 an image folder holds train/<class>/*.png|jpg and test/<class>/*.png|jpg"
            ),
        }),
    }
}

/// The folder of the set `name`, downloaded if it is not there and this build can.
fn official_folder(name: &str, dir: &Path, progress: Progress<'_>) -> Result<PathBuf, DataError> {
    let set = Official::named(name)?;
    if let Some(folder) = set.find(dir) {
        return Ok(folder);
    }
    #[cfg(feature = "fetch")]
    return fetch(name, dir, progress);
    #[cfg(not(feature = "fetch"))]
    {
        _ = progress;
        Err(set.missing(dir))
    }
}

/// Whether `data` names a data set, not a folder.
pub fn is_named(data: &str) -> bool {
    data == "digits" || OFFICIAL.iter().any(|set| set.name == data)
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

/// Says that a test was skipped, and what is missing. `eprintln` of a test that passes is not shown; this is.
#[cfg(test)]
fn skipped(missing: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load("digits", dir.path(), None).unwrap().name, "digits");
        let message = load("svhn", dir.path(), None).unwrap_err().to_string();
        assert!(message.starts_with("data set svhn is neither digits, mnist, cifar10 nor a folder"), "{message}");
    }

    #[cfg(not(feature = "pictures"))]
    #[test]
    fn a_folder_is_refused_without_pictures() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().display().to_string();
        let message = load(&folder, dir.path(), None).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{folder}: this build reads no picture files; ")), "{message}");
    }

    #[cfg(not(feature = "fetch"))]
    #[test]
    fn a_missing_set_is_an_error_without_a_network() {
        let dir = tempfile::tempdir().unwrap();
        let message = load("cifar10", dir.path(), None).unwrap_err().to_string();
        let begins = format!("cifar10 is neither in {0}/cifar10 nor in {0}\n", dir.path().display());
        assert!(message.starts_with(&begins) && message.contains("cifar-10-binary.tar.gz"), "{message}");
    }
}
