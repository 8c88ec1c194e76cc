//! The official data sets: where they come from, how they are checked, where they lie.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use super::DataError;

/// One file of an official data set.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Name of the file that is downloaded.
    pub name: &'static str,
    /// MD5 sum of the file, unpacked where `packed` says so.
    pub md5: &'static str,
    /// Whether the sum is that of the unpacked content.
    pub packed: bool,
}

/// An official data set.
#[derive(Clone, Copy, Debug)]
pub struct Official {
    /// What `--data` calls it.
    pub name: &'static str,
    /// Folders that serve its files.
    pub urls: &'static [&'static str],
    /// Its files.
    pub files: &'static [File],
}

const fn idx(name: &'static str, md5: &'static str) -> File {
    File { name, md5, packed: true }
}

/// The sets that can be fetched.
pub const OFFICIAL: &[Official] = &[
    Official {
        name: "mnist",
        urls: &[
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ],
        files: &[
            idx("train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb"),
            idx("train-labels-idx1-ubyte.gz", "a25bea736e30d166cdddb491f175f624"),
            idx("t10k-images-idx3-ubyte.gz", "2646ac647ad5339dbf082846283269ea"),
            idx("t10k-labels-idx1-ubyte.gz", "27ae3e4e09519cfbb04c329615203637"),
        ],
    },
    Official {
        name: "cifar10",
        urls: &["https://www.cs.toronto.edu/~kriz"],
        files: &[File {
            name: "cifar-10-binary.tar.gz",
            md5: "c32a1d4ab5d03f1284b67883e8d87530",
            packed: false,
        }],
    },
];

/// Hears how a download goes.
pub trait Progress: Sync {
    /// `done` of `total` bytes of `file` are there; `total` is 0 where the server does not say.
    fn bytes(&self, _file: &str, _done: u64, _total: u64) {}
}

impl Progress for () {}

impl Official {
    /// The set called `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the known ones.
    pub fn named(name: &str) -> Result<&'static Official, DataError> {
        OFFICIAL.iter().find(|set| set.name == name).ok_or_else(|| {
            let known: Vec<&str> = OFFICIAL.iter().map(|set| set.name).collect();
            DataError::Missing { message: format!("{name} is not an official data set; known are {}", known.join(", ")) }
        })
    }

    /// The folder that holds the set, if there is one: `dir/<name>` or `dir` itself.
    pub fn find(&self, dir: &Path) -> Option<PathBuf> {
        let holds = |folder: &PathBuf| {
            let all = |file: &File| {
                folder.join(file.name).is_file() || folder.join(file.name.trim_end_matches(".gz")).is_file()
            };
            self.files.iter().all(all) || (self.name == "cifar10" && folder.join("cifar-10-batches-bin").is_dir())
        };
        [dir.join(self.name), dir.to_path_buf()].into_iter().find(holds)
    }
}

/// The folder of the set `name`, downloaded if it is not there.
pub(super) fn find_or_fetch(name: &str, dir: &Path, progress: &dyn Progress) -> Result<PathBuf, DataError> {
    let set = Official::named(name)?;
    match set.find(dir) {
        Some(folder) => Ok(folder),
        None => fetch(name, dir, progress),
    }
}

/// Downloads the set `name` into `dir/<name>`; files that are there and sound are kept. Returns the folder.
///
/// # Errors
/// An unknown name, a folder that cannot be written, or no network: the message then says which files to put where.
pub fn fetch(name: &str, dir: &Path, progress: &dyn Progress) -> Result<PathBuf, DataError> {
    let set = Official::named(name)?;
    let folder = dir.join(set.name);
    std::fs::create_dir_all(&folder).map_err(|e| DataError::io(&folder, e))?;
    for file in set.files {
        let path = folder.join(file.name);
        if path.is_file() && check(&path, file).is_ok() {
            continue;
        }
        let mut reasons = Vec::new();
        let fetched = set.urls.iter().any(|url| match download(&format!("{url}/{}", file.name), &path, file, progress) {
            Ok(()) => true,
            Err(error) => {
                reasons.push(format!("{url}: {error}"));
                false
            }
        });
        if !fetched {
            return Err(DataError::Missing { message: by_hand(set, &folder, &reasons) });
        }
    }
    Ok(folder)
}

/// Checks the sums of the set `name`; returns a line for each file.
///
/// # Errors
/// An unknown name, or the first file that is missing or damaged.
pub fn verify(name: &str, dir: &Path) -> Result<Vec<String>, DataError> {
    let set = Official::named(name)?;
    let folder = set.find(dir).ok_or_else(|| DataError::Missing {
        message: by_hand(set, &dir.join(set.name), &["the files are not there".into()]),
    })?;
    set.files
        .iter()
        .map(|file| {
            let packed = folder.join(file.name);
            let path = if packed.is_file() { packed } else { folder.join(file.name.trim_end_matches(".gz")) };
            check(&path, file).map(|()| format!("{}: MD5 {} is right", path.display(), file.md5))
        })
        .collect()
}

/// What to do without a network.
fn by_hand(set: &Official, folder: &Path, reasons: &[String]) -> String {
    let files: Vec<String> = set
        .files
        .iter()
        .map(|f| format!("  {}  MD5 {}{}", f.name, f.md5, if f.packed { " (unpacked)" } else { "" }))
        .collect();
    format!(
        "{} could not be fetched:\n  {}\nPut these files into {}:\n{}",
        set.name,
        reasons.join("\n  "),
        folder.display(),
        files.join("\n")
    )
}

fn check(path: &Path, file: &File) -> Result<(), DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    let unpack = file.packed && path.extension().is_some_and(|e| e == "gz");
    let content = if unpack {
        let mut content = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut content)
            .map_err(|e| DataError::content(path, format!("not a whole gzip file ({e})"), "fetch it again"))?;
        content
    } else {
        bytes
    };
    let sum: String = Md5::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    if sum == file.md5 {
        return Ok(());
    }
    Err(DataError::content(path, format!("MD5 sum {sum}"), format!("the official file has {}; fetch it again", file.md5)))
}

/// Downloads beside `path`, checks the sum, then renames.
fn download(url: &str, path: &Path, file: &File, progress: &dyn Progress) -> Result<(), String> {
    let response = ureq::get(url).call().map_err(|e| e.to_string())?;
    let total = response.body().content_length().unwrap_or(0);
    let mut reader = response.into_body().into_reader();
    // The suffix keeps `.gz`, which `check` goes by.
    let beside = path.with_file_name(format!("part-{}-{}", std::process::id(), file.name));
    let mut copy = || -> Result<(), String> {
        let mut out = std::fs::File::create(&beside).map_err(|e| e.to_string())?;
        let mut buffer = vec![0; 1 << 16];
        let mut done = 0;
        loop {
            let n = reader.read(&mut buffer).map_err(|e| e.to_string())?;
            if n == 0 {
                break;
            }
            out.write_all(&buffer[..n]).map_err(|e| e.to_string())?;
            done += n as u64;
            progress.bytes(file.name, done, total);
        }
        drop(out);
        check(&beside, file).map_err(|e| e.to_string())?;
        std::fs::rename(&beside, path).map_err(|e| e.to_string())
    };
    copy().inspect_err(|_| _ = std::fs::remove_file(&beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offline_message_says_what_to_do() {
        let message = by_hand(Official::named("mnist").unwrap(), Path::new("/data/mnist"), &["no network".into()]);
        for part in ["mnist could not be fetched", "no network", "/data/mnist", "train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(Official::named("svhn").unwrap_err().to_string().contains("known are mnist, cifar10"));
    }

    #[test]
    fn damaged_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        std::fs::write(&path, b"abc").unwrap();
        let file = File { name: "x.gz", md5: "900150983cd24fb0d6963f7d28e17f72", packed: false };
        check(&path, &file).unwrap();
        let other = File { md5: "0", ..file };
        assert!(check(&path, &other).unwrap_err().to_string().contains("MD5 sum 900150983cd24fb0d6963f7d28e17f72"));
    }
}
