//! CIFAR-10's official binary version: `cifar-10-batches-bin/` or straight from its `.tar.gz`.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;

use super::{DataError, Dataset, Normalization, Split};

/// Names of CIFAR-10's classes, in the order of their numbers.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// One label and 3 x 32 x 32 bytes.
const RECORD: usize = 1 + 3 * 32 * 32;
/// Images of one official batch file.
const IMAGES: usize = 10_000;
const FOLDER: &str = "cifar-10-batches-bin";

pub(super) fn load(dir: &Path) -> Result<Split, DataError> {
    load_batches_of(IMAGES, dir)
}

fn load_batches_of(images: usize, dir: &Path) -> Result<Split, DataError> {
    let folder = dir.join(FOLDER);
    let archive = dir.join("cifar-10-binary.tar.gz");
    let names: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".into()]).collect();
    let mut files: HashMap<String, (PathBuf, Vec<u8>)> = HashMap::new();
    if folder.is_dir() {
        for name in &names {
            let path = folder.join(name);
            let bytes = std::fs::read(&path).map_err(|e| DataError::io(&path, e))?;
            files.insert(name.clone(), (path, bytes));
        }
    } else {
        let file = std::fs::File::open(&archive).map_err(|e| DataError::io(&archive, e))?;
        let damaged = |e: std::io::Error| {
            DataError::content(
                &archive,
                format!("not a whole .tar.gz file ({e})"),
                "fetch it again with `iresnet data fetch cifar10`",
            )
        };
        for entry in tar::Archive::new(GzDecoder::new(file)).entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let path = entry.path().map_err(damaged)?.into_owned();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if names.contains(&name) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                files.insert(name, (archive.join(path), bytes));
            }
        }
    }
    let part = |names: &[String]| -> Result<Dataset, DataError> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for name in names {
            let (path, bytes) = files.get(name).ok_or_else(|| {
                DataError::content(
                    &archive,
                    format!("{name} is not in it"),
                    "the official binary version holds six batches",
                )
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

    #[test]
    fn folder_and_archive_give_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a").join(FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..6u8 {
            let name = if i < 5 { format!("data_batch_{}.bin", i + 1) } else { "test_batch.bin".into() };
            let bytes: Vec<u8> =
                (0..RECORD).map(|at| if at == 0 { i } else { (at * 7 + usize::from(i)) as u8 }).collect();
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        let packed = dir.path().join("b");
        std::fs::create_dir_all(&packed).unwrap();
        let file = std::fs::File::create(packed.join("cifar-10-binary.tar.gz")).unwrap();
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        archive.append_dir_all(FOLDER, &folder).unwrap();
        archive.into_inner().unwrap().finish().unwrap();
        let (one, other) = (load_batches_of(1, &dir.path().join("a")).unwrap(), load_batches_of(1, &packed).unwrap());
        assert_eq!(one.train.pixels, other.train.pixels);
        assert_eq!(*one.train.labels, [0, 1, 2, 3, 4]);
        assert_eq!(one.test.labels, other.test.labels);

        std::fs::remove_file(folder.join("data_batch_3.bin")).unwrap();
        let message = load_batches_of(1, &dir.path().join("a")).unwrap_err().to_string();
        assert!(message.starts_with("cannot read ") && message.contains("data_batch_3.bin"), "{message}");
        std::fs::write(packed.join("cifar-10-binary.tar.gz"), b"not gzip").unwrap();
        let message = load_batches_of(1, &packed).unwrap_err().to_string();
        assert!(message.contains("cifar-10-binary.tar.gz: not a whole .tar.gz file"), "{message}");
    }
}
