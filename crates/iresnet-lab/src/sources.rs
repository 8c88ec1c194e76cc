//! A checksum of the source code that results depend on: results of other code are made again.
//!
//! The build script compiles this file too, so that it uses the standard library only.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Modules of `iresnet-lab` that show results and make none: a new caption leaves results as they are.
const RENDERING: [&str; 2] = ["chart", "report"];

/// Source folders of this project's crates in the folder `crates`, without those of the command line.
///
/// Crates from a registry lie beside those of others, with their version behind the name.
///
/// # Errors
/// A folder that cannot be read.
pub fn folders(crates: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(crates)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let source = entry.path().join("src");
        if name.starts_with("iresnet") && !name.starts_with("iresnet-cli") && source.is_dir() {
            folders.push(source);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The checksum of all Rust files in [`folders`] and of `lock`, the versions of dependencies, if there is such a file.
///
/// Files count by their path below `crates` and their content, in the order of their paths: where the checkout lies does not
/// matter.
///
/// # Errors
/// A file that cannot be read.
pub fn checksum(crates: &Path, lock: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for folder in folders(crates)? {
        rust_files(&folder, &mut files)?;
    }
    let mut files = files
        .iter()
        .map(|path| Ok((name_below(crates, path), fs::read(path)?)))
        .collect::<io::Result<Vec<(String, Vec<u8>)>>>()?;
    if lock.is_file() {
        files.push(("Cargo.lock".into(), fs::read(lock)?));
    }
    files.sort();
    let mut hash = Fnv::default();
    for (name, content) in &files {
        for part in [name.as_bytes(), content] {
            // Lengths keep names and contents apart.
            hash.write(&(part.len() as u64).to_le_bytes());
            hash.write(part);
        }
    }
    Ok(format!("{:032x}", hash.0))
}

/// Adds the Rust files below `folder`.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !renders(&path) {
                rust_files(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether `folder` is one of [`RENDERING`] in `iresnet-lab/src`.
fn renders(folder: &Path) -> bool {
    let of_lab = folder.ancestors().nth(2).and_then(Path::file_name);
    let of_lab = of_lab.is_some_and(|name| name.to_string_lossy().starts_with("iresnet-lab"));
    of_lab && RENDERING.iter().any(|module| folder.ends_with(Path::new("src").join(module)))
}

/// The path below `crates` with slashes, on every system.
fn name_below(crates: &Path, path: &Path) -> String {
    let below = path.strip_prefix(crates).unwrap_or(path);
    below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// FNV-1a with 128 bits (RFC 9923): short, and enough against accidents, which are all that it guards from.
struct Fnv(u128);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul((1 << 88) + 0x13b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checksum of a checkout with these files below `crates/` and this lock.
    fn checksum_of(files: &[(&str, &str)], lock: Option<&str>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let crates = dir.path().join("crates");
        fs::create_dir(&crates).unwrap();
        for (name, content) in files {
            let path = crates.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let lock_path = dir.path().join("Cargo.lock");
        if let Some(content) = lock {
            fs::write(&lock_path, content).unwrap();
        }
        checksum(&crates, &lock_path).unwrap()
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        for (text, expected) in [
            ("", 0x6c62272e07bb014262b821756295c58d),
            ("a", 0xd228cb696f1a8caf78912b704e4a8964),
            ("foobar", 0x343e1662793c64bf6f0d3597ba446f18),
        ] {
            let mut hash = Fnv::default();
            hash.write(text.as_bytes());
            assert_eq!(hash.0, expected, "{text}");
        }
    }

    #[test]
    fn whatever_makes_results_changes_the_checksum() {
        let base = [("iresnet/src/lib.rs", "one"), ("iresnet-flow/src/solve/mod.rs", "two")];
        let [library, flow] = base;
        let of = |files: &[(&str, &str)]| checksum_of(files, Some("lock"));
        let mut different = vec![
            of(&base),
            of(&[library]),
            of(&[library, flow, ("iresnet-spectra/src/lib.rs", "")]),
            // Content, names, and where one ends and the next begins.
            of(&[("iresnet/src/lib.rs", "One"), flow]),
            of(&[("iresnet/src/lab.rs", "one"), flow]),
            of(&[("iresnet/src/lib.rs", "tw"), ("iresnet-flow/src/solve/mod.rs", "oone")]),
            of(&[("iresnet/src/lib.rs", "two"), ("iresnet-flow/src/solve/mod.rs", "one")]),
            checksum_of(&base, Some("other versions")),
            checksum_of(&base, None),
        ];
        let count = different.len();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), count);
    }

    #[test]
    fn nothing_else_changes_the_checksum() {
        let base = [("iresnet-lab/src/figure4.rs", "one"), ("iresnet/src/report/mod.rs", "two")];
        // Another checkout, and its files written in another order.
        let expected = checksum_of(&base, None);
        assert_eq!(checksum_of(&[base[1], base[0]], None), expected);
        for more in [
            "iresnet-cli/src/main.rs",
            "iresnet-lab/src/report/captions.rs",
            "iresnet-lab/src/chart/svg.rs",
            "iresnet-lab/src/notes.md",
            "iresnet/tests/network.rs",
            "other/src/lib.rs",
        ] {
            assert_eq!(checksum_of(&[base[0], base[1], (more, "three")], None), expected, "{more}");
        }
        let elsewhere = checksum_of(&[base[0], base[1], ("iresnet/src/chart/mod.rs", "")], None);
        assert_ne!(elsewhere, expected, "only the lab's own modules render");
    }
}
