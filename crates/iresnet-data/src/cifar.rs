//! CIFAR-10's official binary version: `cifar-10-batches-bin/` or straight from its `.tar.gz`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::normalization::Normalization;
use crate::split::Split;

/// Names of CIFAR-10's classes, in the order of their numbers.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// One label and 3 x 32 x 32 bytes.
const RECORD: usize = 1 + 3 * 32 * 32;
/// Images of one official batch file.
const IMAGES: usize = 10_000;
const FOLDER: &str = "cifar-10-batches-bin";

const ARCHIVE: &str = "cifar-10-binary.tar.gz";

/// Files by their names, each with the path to name in errors.
type Files = HashMap<String, (PathBuf, Vec<u8>)>;

pub(crate) fn load(dir: &Path) -> Result<Split, DataError> {
    load_batches_of(IMAGES, dir)
}

fn load_batches_of(images: usize, dir: &Path) -> Result<Split, DataError> {
    let (folder, archive) = (dir.join(FOLDER), dir.join(ARCHIVE));
    let names: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".into()]).collect();
    let files = if folder.is_dir() { unpacked(&folder, &names)? } else { packed(&archive, &names)? };
    let part = |names: &[String]| -> Result<Dataset, DataError> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for name in names {
            let (path, bytes) = files.get(name).ok_or_else(|| {
                let found = format!("{name} is not in it");
                DataError::content(&archive, found, "the official binary version holds six batches")
            })?;
            parse(path, bytes, images, &mut pixels, &mut labels)?;
        }
        Ok(Dataset { shape: [3, 32, 32], pixels: Arc::new(pixels), labels: Arc::new(labels) })
    };
    let train = part(&names[..5])?;
    Ok(Split {
        name: "cifar10".into(),
        normalization: Normalization::standardized(&train),
        train,
        test: part(&names[5..])?,
        classes: CLASSES.map(String::from).to_vec(),
    })
}

fn unpacked(folder: &Path, names: &[String]) -> Result<Files, DataError> {
    let read = |name: &String| {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|e| DataError::io(&path, e))?;
        Ok((name.clone(), (path, bytes)))
    };
    names.iter().map(read).collect()
}

#[cfg(feature = "archives")]
fn packed(archive: &Path, names: &[String]) -> Result<Files, DataError> {
    use std::io::Read;

    let file = std::fs::File::open(archive).map_err(|e| DataError::io(archive, e))?;
    let damaged = |e: std::io::Error| {
        DataError::content(archive, format!("not a whole .tar.gz file ({e})"), "fetch the official file again")
    };
    let mut files = Files::new();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(file)).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if names.contains(&name) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            files.insert(name, (archive.join(path), bytes));
        }
    }
    Ok(files)
}

#[cfg(not(feature = "archives"))]
fn packed(archive: &Path, _names: &[String]) -> Result<Files, DataError> {
    let expected = "unpack it where it lies, or build iresnet-data with its feature `archives`";
    Err(DataError::Unsupported { path: archive.into(), what: ".tar.gz files", expected })
}

fn parse(
    path: &Path,
    bytes: &[u8],
    images: usize,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<(), DataError> {
    if bytes.len() != images * RECORD {
        return Err(DataError::content(
            path,
            format!("{} bytes", bytes.len()),
            format!(
                "a batch is {images} records of {RECORD} bytes, {} in all; the file is truncated or damaged",
                images * RECORD
            ),
        ));
    }
    for (i, record) in bytes.chunks_exact(RECORD).enumerate() {
        if record[0] > 9 {
            return Err(DataError::content(path, format!("label {} at position {i}", record[0]), "labels are 0 to 9"));
        }
        labels.push(u32::from(record[0]));
        pixels.extend(&record[1..]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_files_and_wild_labels_are_refused() {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        let mut message = |bytes: &[u8]| match parse(Path::new("b"), bytes, 2, &mut pixels, &mut labels) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        // Half a batch is whole records, and still short.
        for len in [0, RECORD, 2 * RECORD - 1] {
            let expected = format!("b: {len} bytes; a batch is 2 records of 3073 bytes, 6146 in all; ");
            assert!(message(&vec![0; len]).starts_with(&expected));
        }
        let mut two = vec![0; 2 * RECORD];
        two[RECORD] = 10;
        assert_eq!(message(&two), "b: label 10 at position 1; labels are 0 to 9");
        two[RECORD] = 9;
        assert_eq!(message(&two), "");
    }

    /// Six batches of one image each.
    fn write_batches(folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        for i in 0..6u8 {
            let name = if i < 5 { format!("data_batch_{}.bin", i + 1) } else { "test_batch.bin".into() };
            let bytes: Vec<u8> =
                (0..RECORD).map(|at| if at == 0 { i } else { (at * 7 + usize::from(i)) as u8 }).collect();
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }

    #[test]
    fn a_folder_of_batches_loads() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        write_batches(&folder);
        let split = load_batches_of(1, dir.path()).unwrap();
        assert_eq!((*split.train.labels).clone(), [0, 1, 2, 3, 4]);
        assert_eq!((split.test.labels[0], split.test.image(0)[..2].to_vec()), (5, vec![12, 19]));
        std::fs::remove_file(folder.join("data_batch_3.bin")).unwrap();
        let message = load_batches_of(1, dir.path()).unwrap_err().to_string();
        assert!(message.starts_with("cannot read ") && message.contains("data_batch_3.bin"), "{message}");
    }

    #[cfg(feature = "archives")]
    #[test]
    fn folder_and_archive_give_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (unpacked, packed) = (dir.path().join("a"), dir.path().join("b"));
        write_batches(&unpacked.join(FOLDER));
        std::fs::create_dir_all(&packed).unwrap();
        let file = std::fs::File::create(packed.join(ARCHIVE)).unwrap();
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        archive.append_dir_all(FOLDER, unpacked.join(FOLDER)).unwrap();
        archive.into_inner().unwrap().finish().unwrap();
        let (one, other) = (load_batches_of(1, &unpacked).unwrap(), load_batches_of(1, &packed).unwrap());
        assert_eq!(one.train.pixels, other.train.pixels);
        assert_eq!(one.test.labels, other.test.labels);

        std::fs::write(packed.join(ARCHIVE), b"not gzip").unwrap();
        let message = load_batches_of(1, &packed).unwrap_err().to_string();
        assert!(message.contains("cifar-10-binary.tar.gz: not a whole .tar.gz file"), "{message}");
    }

    #[cfg(not(feature = "archives"))]
    #[test]
    fn an_archive_is_refused_by_name() {
        let message = load(Path::new("there")).unwrap_err().to_string();
        let expected = "there/cifar-10-binary.tar.gz: this build reads no .tar.gz files; unpack it where it lies";
        assert!(message.starts_with(expected), "{message}");
    }
}
