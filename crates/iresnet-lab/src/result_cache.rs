//! Results on disk: each in a JSON file of its own, with a key that says what it was made from.

use std::path::{Path, PathBuf};

use iresnet::train::{RunError, write_atomically};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Part of every key: a checksum of all source code that results may depend on, from the build script.
const SOURCES: &str = env!("IRESNET_SOURCES");

/// A folder of results.
#[derive(Clone, Debug)]
pub struct ResultCache {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct File<T> {
    /// JSON as text: parsing may change a number's last digit.
    made_from: String,
    result: T,
}

impl ResultCache {
    /// Opens or makes `folder`.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        std::fs::create_dir_all(folder).map_err(|source| RunError::Write { path: folder.into(), source })?;
        Ok(ResultCache { folder: folder.into() })
    }

    /// The result `name` if it is there and was made from `made_from` by the same source code; else makes it and saves it.
    ///
    /// A file that does not parse, or has another key, is replaced. What is returned is always what the file says, so
    /// that a result is the same when it is new and when it was saved.
    ///
    /// # Errors
    /// What `make` says, or a file that cannot be written.
    pub fn get_or<T, E>(
        &self,
        name: &str,
        made_from: impl Serialize,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<RunError>,
    {
        let path = self.folder.join(format!("{name}.json"));
        let made_from = serde_json::to_string(&(SOURCES, made_from)).expect("a key is JSON");
        let saved = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<File<T>>(&bytes).ok());
        if let Some(file) = saved.filter(|file| file.made_from == made_from) {
            return Ok(file.result);
        }
        let text = serde_json::to_string_pretty(&File { made_from, result: make()? }).expect("a result is JSON");
        write_atomically(&path, text.as_bytes())?;
        let file: File<T> = serde_json::from_str(&text).expect("results read back what they write");
        Ok(file.result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_made_once_for_each_key() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ResultCache::open(&dir.path().join("parts")).unwrap();
        let file = dir.path().join("parts/sum.json");
        let get = |key: (&str, f64), value: u32| -> u32 {
            let result: Result<u32, RunError> = cache.get_or("sum", key, || Ok(value));
            result.unwrap()
        };
        assert_eq!(get(("a", 0.1), 1), 1);
        assert_eq!(get(("a", 0.1), 2), 1, "the saved one");
        assert_eq!(get(("b", 0.1), 3), 3, "another key");
        std::fs::write(&file, "{ \"made_from\"").unwrap();
        assert_eq!(get(("b", 0.1), 4), 4, "a broken file");
        let refused: Result<u32, RunError> =
            cache.get_or("sum", "c", || Err(RunError::Exists { path: "elsewhere".into() }));
        assert!(refused.is_err());
        assert_eq!(get(("b", 0.1), 5), 4, "a failure leaves the old file");
        let of_other_sources = std::fs::read_to_string(&file).unwrap().replace(SOURCES, "other");
        std::fs::write(&file, of_other_sources).unwrap();
        assert_eq!(get(("b", 0.1), 6), 6, "made by other source code");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = ResultCache::open(&file.join("parts")).unwrap_err().to_string();
        assert!(message.starts_with("cannot write ") && message.contains("file/parts"), "{message}");
    }
}
