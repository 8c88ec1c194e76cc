//! MNIST's IDX files, raw or `.gz`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::normalization::Normalization;
use crate::split::Split;

pub(crate) fn load(dir: &Path) -> Result<Split, DataError> {
    let part = |prefix: &str| -> Result<Dataset, DataError> {
        let (images_path, images) = read(dir, &format!("{prefix}-images-idx3-ubyte"))?;
        let (labels_path, labels) = read(dir, &format!("{prefix}-labels-idx1-ubyte"))?;
        let (sizes, pixels) = parse(&images_path, &images, 3)?;
        let (counts, labels) = parse(&labels_path, &labels, 1)?;
        if counts[0] != sizes[0] {
            return Err(DataError::content(
                &labels_path,
                format!("{} labels", counts[0]),
                format!("{} holds {} images, so there must be as many labels", images_path.display(), sizes[0]),
            ));
        }
        if sizes.contains(&0) {
            let found = format!("{} images of {}x{}", sizes[0], sizes[2], sizes[1]);
            return Err(DataError::content(&images_path, found, "at least one image of one pixel is needed"));
        }
        if let Some(at) = labels.iter().position(|l| *l > 9) {
            let found = format!("label {} at position {at}", labels[at]);
            return Err(DataError::content(&labels_path, found, "labels are 0 to 9"));
        }
        Ok(Dataset {
            shape: [1, sizes[1], sizes[2]],
            pixels: Arc::new(pixels.to_vec()),
            labels: Arc::new(labels.iter().map(|l| u32::from(*l)).collect()),
        })
    };
    let (train, test) = (part("train")?, part("t10k")?);
    if train.shape != test.shape {
        let show = |[_, height, width]: [usize; 3]| format!("images of {width}x{height}");
        let expected = format!("the training set has {}", show(train.shape));
        return Err(DataError::content(dir, format!("a test set with {}", show(test.shape)), expected));
    }
    Ok(Split {
        name: "mnist".into(),
        train,
        test,
        classes: (0..10).map(|d| d.to_string()).collect(),
        normalization: Normalization::to_half(1, 255),
    })
}

/// The file `name` or `name.gz`, unpacked.
fn read(dir: &Path, name: &str) -> Result<(PathBuf, Vec<u8>), DataError> {
    let plain = dir.join(name);
    if plain.is_file() {
        let bytes = std::fs::read(&plain).map_err(|e| DataError::io(&plain, e))?;
        return Ok((plain, bytes));
    }
    let packed = dir.join(format!("{name}.gz"));
    let file = std::fs::File::open(&packed).map_err(|e| DataError::io(&packed, e))?;
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).map_err(|e| {
        DataError::content(&packed, format!("not a whole gzip file ({e})"), "fetch the official file again")
    })?;
    Ok((packed, bytes))
}

/// Sizes and values of an IDX file of unsigned bytes with `dimensions` dimensions.
fn parse<'a>(path: &Path, bytes: &'a [u8], dimensions: usize) -> Result<(Vec<usize>, &'a [u8]), DataError> {
    let number = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_be_bytes(b.try_into().expect("four bytes")));
    let magic = 0x0800 + dimensions as u32;
    match number(0) {
        Some(found) if found == magic => {}
        found => {
            let found = found.map_or("shorter than a magic number".to_string(), |m| format!("magic number {m:#010x}"));
            return Err(DataError::content(path, found, format!("an IDX file of this kind begins with {magic:#010x}")));
        }
    }
    let header = 4 + 4 * dimensions;
    let sizes: Option<Vec<usize>> = (0..dimensions).map(|i| number(4 + 4 * i).map(|n| n as usize)).collect();
    let expected = sizes.as_ref().and_then(|s| s.iter().try_fold(1usize, |a, b| a.checked_mul(*b)));
    match (sizes, expected) {
        (Some(sizes), Some(expected)) if bytes.len() - header == expected => Ok((sizes, &bytes[header..])),
        (Some(sizes), expected) => Err(DataError::content(
            path,
            format!("{} bytes behind its header", bytes.len() - header),
            match expected {
                Some(expected) => {
                    format!("the header announces {expected}; the file is truncated or damaged")
                }
                None => {
                    format!("the header announces the absurd sizes {sizes:?}; the file is damaged")
                }
            },
        )),
        (None, _) => Err(DataError::content(
            path,
            format!("{} bytes", bytes.len()),
            format!("its header alone has {header}; the file is truncated"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8], dimensions: usize) -> String {
        parse(Path::new("f"), bytes, dimensions).unwrap_err().to_string()
    }

    #[test]
    fn truncated_and_foreign_files_are_refused() {
        let mut file = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2];
        file.extend([7; 7]);
        assert_eq!(
            message(&file, 3),
            "f: 7 bytes behind its header; the header announces 8; the file is truncated or damaged"
        );
        file.push(7);
        assert_eq!(parse(Path::new("f"), &file, 3).unwrap().0, [2, 2, 2]);
        assert_eq!(message(&file, 1), "f: magic number 0x00000803; an IDX file of this kind begins with 0x00000801");
        assert_eq!(message(&file[..10], 3), "f: 10 bytes; its header alone has 16; the file is truncated");
        assert_eq!(
            message(&file[..16], 3),
            "f: 0 bytes behind its header; the header announces 8; the file is truncated or damaged"
        );
        // 4294967295 x 641 x 6700417 is 2^64 - 1, and a larger factor overflows: neither may wrap around.
        let mut vast = vec![0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 2, 129, 0, 102, 61, 129];
        assert!(message(&vast, 3).contains("announces 18446744073709551615"));
        vast[8] = 255;
        assert!(message(&vast, 3).contains("absurd sizes [4294967295, "));
        assert!(message(&[1, 2], 1).starts_with("f: shorter than a magic number"));
    }

    /// What loading says when the training set has no labels either.
    fn write_labels_only(dir: &Path) -> String {
        std::fs::write(dir.join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 0]).unwrap();
        load(dir).unwrap_err().to_string()
    }

    #[test]
    fn labels_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let write = |labels: &[u8]| {
            for prefix in ["train", "t10k"] {
                let mut images = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1];
                images.extend([0, 255]);
                std::fs::write(dir.path().join(format!("{prefix}-images-idx3-ubyte")), images).unwrap();
                let mut file = vec![0, 0, 8, 1, 0, 0, 0, labels.len() as u8];
                file.extend(labels);
                std::fs::write(dir.path().join(format!("{prefix}-labels-idx1-ubyte")), file).unwrap();
            }
            load(dir.path())
        };
        assert_eq!(*write(&[3, 9]).unwrap().test.labels, [3, 9]);
        assert!(write(&[3, 10]).unwrap_err().to_string().ends_with("label 10 at position 1; labels are 0 to 9"));
        assert!(write(&[3]).unwrap_err().to_string().contains("1 labels; "));
        std::fs::write(dir.path().join("train-images-idx3-ubyte"), [0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])
            .unwrap();
        assert!(write_labels_only(dir.path()).ends_with("0 images of 1x1; at least one image of one pixel is needed"));
        std::fs::write(
            dir.path().join("train-images-idx3-ubyte"),
            [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6],
        )
        .unwrap();
        std::fs::write(dir.path().join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 3]).unwrap();
        std::fs::write(dir.path().join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 2, 3, 4]).unwrap();
        let message = load(dir.path()).unwrap_err().to_string();
        assert!(message.ends_with("a test set with images of 1x1; the training set has images of 2x1"), "{message}");
    }

    #[test]
    fn the_real_files_load() {
        let Some(dir) = std::env::var_os("IRESNET_DATA").map(|d| PathBuf::from(d).join("mnist")).filter(|d| d.is_dir())
        else {
            crate::skipped("IRESNET_DATA has no mnist folder");
            return;
        };
        let split = load(&dir).unwrap();
        assert_eq!((split.train.len(), split.test.len(), split.train.shape), (60_000, 10_000, [1, 28, 28]));
        assert_eq!(split.test.labels[..5], [7, 2, 1, 0, 4]);
    }
}
