//! The official data sets: where they come from, how they are checked, where they lie.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
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
        urls: &["https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"],
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
        files: &[File { name: "cifar-10-binary.tar.gz", md5: "c32a1d4ab5d03f1284b67883e8d87530", packed: false }],
    },
];

/// A server that does not answer for this long is given up.
const PATIENCE: Duration = Duration::from_secs(20);

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
    std::fs::create_dir_all(&folder).map_err(|e| DataError::write(&folder, e))?;
    for file in set.files {
        let path = folder.join(file.name);
        if path.is_file() && check(&path, file).is_ok() {
            continue;
        }
        let mut reasons = Vec::new();
        let fetched =
            set.urls.iter().any(|url| match download(&format!("{url}/{}", file.name), &path, file, progress) {
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
/// An unknown name, the first file that is missing or damaged, or batches of CIFAR-10 without the archive that they came
/// from: only the archive has an official sum.
pub fn verify(name: &str, dir: &Path) -> Result<Vec<String>, DataError> {
    let set = Official::named(name)?;
    let folder = set.find(dir).ok_or_else(|| DataError::Missing {
        message: by_hand(set, &dir.join(set.name), &["the files are not there".into()]),
    })?;
    set.files
        .iter()
        .map(|file| {
            let packed = folder.join(file.name);
            if !packed.is_file() && !file.packed {
                let found = format!("{} is not there", file.name);
                return Err(DataError::content(
                    &folder,
                    found,
                    "only the archive, not its content, has an official sum",
                ));
            }
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
        GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut content)
            .map_err(|e| DataError::content(path, format!("not a whole gzip file ({e})"), "fetch it again"))?;
        content
    } else {
        bytes
    };
    let sum = crate::bytes::hex(&Md5::digest(&content));
    if sum == file.md5 {
        return Ok(());
    }
    Err(DataError::content(
        path,
        format!("MD5 sum {sum}"),
        format!("the official file has {}; fetch it again", file.md5),
    ))
}

/// Downloads beside `path`, checks the sum, then renames.
fn download(url: &str, path: &Path, file: &File, progress: &dyn Progress) -> Result<(), String> {
    let config = ureq::Agent::config_builder().timeout_connect(Some(PATIENCE)).timeout_recv_response(Some(PATIENCE));
    let agent = ureq::Agent::new_with_config(config.build());
    let response = agent.get(url).call().map_err(|e| e.to_string())?;
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
        out.sync_all().map_err(|e| e.to_string())?;
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
        for part in [
            "mnist could not be fetched",
            "no network",
            "/data/mnist",
            "train-images-idx3-ubyte.gz",
            "6bbc9ace898e44ae57da46a324031adb",
        ] {
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
        let message = verify("mnist", dir.path()).unwrap_err().to_string();
        assert!(message.contains("train-images-idx3-ubyte.gz: not a whole gzip file"), "{message}");

        std::fs::create_dir_all(dir.path().join("cifar10/cifar-10-batches-bin")).unwrap();
        assert_eq!(cifar.find(dir.path()), Some(dir.path().join("cifar10")));
        let message = verify("cifar10", dir.path()).unwrap_err().to_string();
        assert!(message.ends_with("only the archive, not its content, has an official sum"), "{message}");
        let message = verify("mnist", &dir.path().join("empty")).unwrap_err().to_string();
        assert!(message.contains("the files are not there") && message.contains("empty/mnist"), "{message}");
    }

    /// Answers one request with `body` and returns the folder's address.
    fn serve(body: &'static [u8]) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            _ = stream.read(&mut [0; 4096]).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
            stream.write_all(body).unwrap();
        });
        format!("http://{address}")
    }

    #[test]
    fn downloads_are_checked_and_leave_nothing_half_done() {
        struct Seen(std::sync::Mutex<(u64, u64)>);
        impl Progress for Seen {
            fn bytes(&self, _file: &str, done: u64, total: u64) {
                *self.0.lock().unwrap() = (done, total);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.bin");
        let entries = || std::fs::read_dir(dir.path()).unwrap().count();
        let file = File { name: "x.bin", md5: "900150983cd24fb0d6963f7d28e17f72", packed: false };
        let message = download(&format!("{}/x.bin", serve(b"abd")), &path, &file, &()).unwrap_err();
        assert!(message.contains("the official file has 900150983cd24fb0d6963f7d28e17f72"), "{message}");
        assert_eq!(entries(), 0);
        let seen = Seen(std::sync::Mutex::new((0, 0)));
        download(&format!("{}/x.bin", serve(b"abc")), &path, &file, &seen).unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), entries()), (b"abc".as_slice(), 1));
        assert_eq!(*seen.0.lock().unwrap(), (3, 3));
        // Nobody listens on port 1.
        assert!(download("http://127.0.0.1:1/x.bin", &path, &file, &()).is_err());
    }

    #[test]
    fn the_real_files_have_the_official_sums() {
        let dir = std::env::var_os("IRESNET_DATA").map(PathBuf::from);
        let Some(dir) = dir.filter(|dir| Official::named("mnist").unwrap().find(dir).is_some()) else {
            eprintln!("skipped: IRESNET_DATA has no MNIST");
            return;
        };
        assert_eq!(verify("mnist", &dir).unwrap().len(), 4);
    }
}
