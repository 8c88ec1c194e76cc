//! Why data could not be used.

use std::path::{Path, PathBuf};

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
    /// A feature of this crate would read it, and this build is without.
    #[error("{path}: this build reads no {what}; {expected}")]
    Unsupported {
        /// File or folder.
        path: PathBuf,
        /// What lies there.
        what: &'static str,
        /// What would be right.
        expected: &'static str,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        DataError::Io { path: path.into(), source }
    }

    #[cfg(any(feature = "fetch", feature = "pictures"))]
    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        DataError::Write { path: path.into(), source }
    }

    pub(crate) fn content(path: &Path, found: impl Into<String>, expected: impl Into<String>) -> Self {
        DataError::Content { path: path.into(), found: found.into(), expected: expected.into() }
    }
}
