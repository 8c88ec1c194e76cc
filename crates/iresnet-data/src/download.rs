//! Fetching the official data sets, and checking them by their sums.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use md5::{Digest, Md5};

use crate::error::DataError;
use crate::hash::hex;
use crate::official::{File, Official};
use crate::progress::Progress;

/// A server that does not answer for this long is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Downloads the set `name` into `dir/<name>`; files that are there and sound are kept. Returns the folder.
///
/// `progress` hears bytes of the whole set.
///
/// # Errors
/// An unknown name, a folder that cannot be written, or no network: the message then says which files to put where.
pub fn fetch(name: &str, dir: &Path, progress: Progress<'_>) -> Result<PathBuf, DataError> {
    fetch_set(Official::named(name)?, dir, progress)
}

fn fetch_set(set: &Official, dir: &Path, progress: Progress<'_>) -> Result<PathBuf, DataError> {
    let folder = dir.join(set.name);
    std::fs::create_dir_all(&folder).map_err(|e| DataError::write(&folder, e))?;
    let total = set.files.iter().map(|file| file.size).sum();
    let mut before = 0;
    for file in set.files {
        let path = folder.join(file.name);
        let report = |len: usize| {
            if let Some(progress) = progress {
                progress(before + len.min(file.size), total);
            }
        };
        if !path.is_file() || check(&path, file).is_err() {
            let mut reasons = String::new();
            let fetched =
                set.urls.iter().any(|url| match download(&format!("{url}/{}", file.name), &path, file, &report) {
                    Ok(()) => true,
                    Err(error) => {
                        reasons += &format!("\n  {url}: {error}");
                        false
                    }
                });
            if !fetched {
                return Err(set.put(&folder, &format!("{} could not be fetched:{reasons}", set.name)));
            }
        }
        before += file.size;
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
    let folder = set.find(dir).ok_or_else(|| set.missing(dir))?;
    set.files
        .iter()
        .map(|file| {
            let packed = folder.join(file.name);
            if !packed.is_file() && !file.packed {
                let found = format!("{} is not there", file.name);
                let expected = "only the archive, not its content, has an official sum";
                return Err(DataError::content(&folder, found, expected));
            }
            let path = if packed.is_file() { packed } else { folder.join(file.name.trim_end_matches(".gz")) };
            check(&path, file).map(|()| format!("{}: MD5 {} is right", path.display(), file.md5))
        })
        .collect()
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
    let sum = hex(&Md5::digest(&content));
    if sum == file.md5 {
        return Ok(());
    }
    Err(DataError::content(
        path,
        format!("MD5 sum {sum}"),
        format!("the official file has {}; fetch it again", file.md5),
    ))
}

/// Downloads beside `path`, checks the sum, then renames; `done` hears how many bytes are there.
fn download(url: &str, path: &Path, file: &File, done: &dyn Fn(usize)) -> Result<(), String> {
    let config = ureq::Agent::config_builder().timeout_connect(Some(PATIENCE)).timeout_recv_response(Some(PATIENCE));
    let agent = ureq::Agent::new_with_config(config.build());
    let response = agent.get(url).call().map_err(|e| e.to_string())?;
    let mut reader = response.into_body().into_reader();
    // The suffix keeps `.gz`, which `check` goes by.
    let beside = path.with_file_name(format!("part-{}-{}", std::process::id(), file.name));
    let mut copy = || -> Result<(), String> {
        let mut out = std::fs::File::create(&beside).map_err(|e| e.to_string())?;
        let mut buffer = vec![0; 1 << 16];
        let mut len = 0;
        loop {
            let n = reader.read(&mut buffer).map_err(|e| e.to_string())?;
            if n == 0 {
                break;
            }
            out.write_all(&buffer[..n]).map_err(|e| e.to_string())?;
            len += n;
            done(len);
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
    fn damaged_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        std::fs::write(&path, b"abc").unwrap();
        let file = File { name: "x.gz", md5: "900150983cd24fb0d6963f7d28e17f72", packed: false, size: 3 };
        check(&path, &file).unwrap();
        let other = File { md5: "0", ..file };
        assert!(check(&path, &other).unwrap_err().to_string().contains("MD5 sum 900150983cd24fb0d6963f7d28e17f72"));
    }

    #[test]
    fn verifying_names_what_is_missing_or_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let message = |name: &str| verify(name, dir.path()).unwrap_err().to_string();
        assert!(message("mnist").starts_with("mnist is neither in "), "{}", message("mnist"));
        for file in Official::named("mnist").unwrap().files {
            std::fs::write(dir.path().join(file.name), b"").unwrap();
        }
        let damaged = "train-images-idx3-ubyte.gz: not a whole gzip file";
        assert!(message("mnist").contains(damaged), "{}", message("mnist"));
        std::fs::create_dir_all(dir.path().join("cifar10/cifar-10-batches-bin")).unwrap();
        let no_sum = "only the archive, not its content, has an official sum";
        assert!(message("cifar10").ends_with(no_sum), "{}", message("cifar10"));
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

    /// MD5 of "abc", RFC 1321.
    const ABC: File = File { name: "x.bin", md5: "900150983cd24fb0d6963f7d28e17f72", packed: false, size: 3 };

    #[test]
    fn downloads_are_checked_and_leave_nothing_half_done() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.bin");
        let entries = || std::fs::read_dir(dir.path()).unwrap().count();
        let message = download(&format!("{}/x.bin", serve(b"abd")), &path, &ABC, &|_| ()).unwrap_err();
        assert!(message.contains("the official file has 900150983cd24fb0d6963f7d28e17f72"), "{message}");
        assert_eq!(entries(), 0);
        download(&format!("{}/x.bin", serve(b"abc")), &path, &ABC, &|_| ()).unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), entries()), (b"abc".as_slice(), 1));
        // Nobody listens on port 1.
        assert!(download("http://127.0.0.1:1/x.bin", &path, &ABC, &|_| ()).is_err());
    }

    #[test]
    fn a_set_is_fetched_from_the_first_server_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tiny");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("there.bin"), b"abc").unwrap();
        let there = File { name: "there.bin", ..ABC };
        // The second file is said to be shorter than it is: progress must not pass its share.
        let files = vec![there, File { size: 2, ..ABC }, there].leak();
        let set = |urls: Vec<String>| -> Official {
            let urls = urls.into_iter().map(|url| &*url.leak()).collect::<Vec<&'static str>>().leak();
            Official { name: "tiny", urls, files }
        };
        let nowhere = || "http://127.0.0.1:1".to_string();
        let message = fetch_set(&set(vec![nowhere()]), dir.path(), None).unwrap_err().to_string();
        let begins = "tiny could not be fetched:\n  http://127.0.0.1:1: ";
        assert!(message.starts_with(begins) && message.contains("Put these files into "), "{message}");
        let seen = std::sync::Mutex::new(Vec::new());
        let progress = |done, total| seen.lock().unwrap().push((done, total));
        assert_eq!(fetch_set(&set(vec![nowhere(), serve(b"abc")]), dir.path(), Some(&progress)).unwrap(), folder);
        assert_eq!(std::fs::read(folder.join("x.bin")).unwrap(), b"abc");
        assert_eq!(*seen.lock().unwrap(), [(5, 8)], "what is there makes no noise");
    }

    #[test]
    fn the_real_files_have_the_official_sums() {
        let dir = std::env::var_os("IRESNET_DATA").map(PathBuf::from);
        let Some(dir) = dir.filter(|dir| Official::named("mnist").unwrap().find(dir).is_some()) else {
            crate::skipped("IRESNET_DATA has no MNIST");
            return;
        };
        assert_eq!(verify("mnist", &dir).unwrap().len(), 4);
    }
}
