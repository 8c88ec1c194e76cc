//! Files that are never half written.

use std::io::{self, Write};
use std::path::Path;

/// Writes `bytes` beside `path`, then renames: `path` is the old file or the new one, never half of one.
///
/// # Errors
/// What the system says; nothing is left beside `path` then.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().inspect_err(|_| _ = std::fs::remove_file(&beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        for bytes in [b"old".as_slice(), b"new"] {
            replace_file(&path, bytes).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        std::fs::create_dir(dir.path().join("b.txt")).unwrap();
        // A folder cannot be replaced by a file: the rename fails after the write.
        assert!(replace_file(&dir.path().join("b.txt"), b"new").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
