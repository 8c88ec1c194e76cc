//! The official data sets: where they come from, their sums, where they lie.

use std::path::{Path, PathBuf};

use crate::error::DataError;

/// One file of an official data set.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Name of the file that is downloaded.
    pub name: &'static str,
    /// MD5 sum of the file, unpacked where `packed` says so.
    pub md5: &'static str,
    /// Whether the sum is that of the unpacked content.
    pub packed: bool,
    /// Size in bytes; servers that packed `packed` ones anew differ a little.
    pub size: usize,
}

/// An official data set.
#[derive(Clone, Copy, Debug)]
pub struct Official {
    /// What [`crate::load`] calls it.
    pub name: &'static str,
    /// Folders that serve its files.
    pub urls: &'static [&'static str],
    /// Its files.
    pub files: &'static [File],
}

const fn idx(name: &'static str, md5: &'static str, size: usize) -> File {
    File { name, md5, packed: true, size }
}

/// The sets that can be fetched.
pub const OFFICIAL: &[Official] = &[
    Official {
        name: "mnist",
        urls: &["https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"],
        files: &[
            idx("train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb", 9912422),
            idx("train-labels-idx1-ubyte.gz", "a25bea736e30d166cdddb491f175f624", 28881),
            idx("t10k-images-idx3-ubyte.gz", "2646ac647ad5339dbf082846283269ea", 1648877),
            idx("t10k-labels-idx1-ubyte.gz", "27ae3e4e09519cfbb04c329615203637", 4542),
        ],
    },
    Official {
        name: "cifar10",
        urls: &["https://www.cs.toronto.edu/~kriz"],
        files: &[File {
            name: "cifar-10-binary.tar.gz",
            md5: "c32a1d4ab5d03f1284b67883e8d87530",
            packed: false,
            size: 170_052_171,
        }],
    },
];

impl Official {
    /// The set called `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the known ones.
    pub fn named(name: &str) -> Result<&'static Official, DataError> {
        OFFICIAL.iter().find(|set| set.name == name).ok_or_else(|| {
            let known: Vec<&str> = OFFICIAL.iter().map(|set| set.name).collect();
            DataError::Missing {
                message: format!("{name} is not an official data set; known are {}", known.join(", ")),
            }
        })
    }

    /// The folder that holds the set, if there is one: `dir/<name>` or `dir` itself.
    pub fn find(&self, dir: &Path) -> Option<PathBuf> {
        let holds = |folder: &PathBuf| {
            let there = |file: &File| {
                folder.join(file.name).is_file()
                    || (file.packed && folder.join(file.name.trim_end_matches(".gz")).is_file())
            };
            self.files.iter().all(there) || (self.name == "cifar10" && folder.join("cifar-10-batches-bin").is_dir())
        };
        [dir.join(self.name), dir.to_path_buf()].into_iter().find(holds)
    }

    /// That the set is not there, where it was looked for, and which files to put where.
    pub(crate) fn missing(&self, dir: &Path) -> DataError {
        let (own, name) = (dir.join(self.name), self.name);
        self.put(&own, &format!("{name} is neither in {} nor in {}", own.display(), dir.display()))
    }

    /// What happened, and which files to put into `folder`.
    pub(crate) fn put(&self, folder: &Path, what: &str) -> DataError {
        let line = |f: &File| format!("  {}  MD5 {}{}", f.name, f.md5, if f.packed { " (unpacked)" } else { "" });
        let files: Vec<String> = self.files.iter().map(line).collect();
        let message = format!("{what}\nPut these files into {}:\n{}", folder.display(), files.join("\n"));
        DataError::Missing { message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_set_says_where_it_was_looked_for_and_what_to_do() {
        let message = Official::named("mnist").unwrap().missing(Path::new("/data")).to_string();
        for part in [
            "mnist is neither in /data/mnist nor in /data\nPut these files into /data/mnist:\n",
            "train-images-idx3-ubyte.gz  MD5 6bbc9ace898e44ae57da46a324031adb (unpacked)",
        ] {
            assert!(message.contains(part), "{message}");
        }
        assert!(Official::named("svhn").unwrap_err().to_string().ends_with("known are mnist, cifar10"));
    }

    #[test]
    fn sets_are_found_where_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let (mnist, cifar) = (Official::named("mnist").unwrap(), Official::named("cifar10").unwrap());
        assert_eq!((mnist.find(dir.path()), cifar.find(dir.path())), (None, None));
        for (i, file) in mnist.files.iter().enumerate() {
            // Packed and unpacked files may be mixed.
            let name = if i % 2 == 0 { file.name } else { file.name.trim_end_matches(".gz") };
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        assert_eq!(mnist.find(dir.path()), Some(dir.path().to_path_buf()));
        std::fs::create_dir_all(dir.path().join("cifar10/cifar-10-batches-bin")).unwrap();
        assert_eq!(cifar.find(dir.path()), Some(dir.path().join("cifar10")));
    }
}
