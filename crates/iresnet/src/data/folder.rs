//! Any image folder: `train/<class>/*.png|jpg` and `test/<class>/...`, all images of one size, grey or RGB.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::picture::{self, Picture};
use super::{DataError, Dataset, Normalization, Split};

pub(super) fn load(dir: &Path) -> Result<Split, DataError> {
    let classes = class_names(&dir.join("train"))?;
    let test_classes = class_names(&dir.join("test"))?;
    if let Some(stranger) = test_classes.iter().find(|c| !classes.contains(c)) {
        let expected = format!("the classes of train/ are {}", classes.join(", "));
        return Err(DataError::content(&dir.join("test"), format!("class {stranger} is not in train/"), expected));
    }
    let listed = |part: &str, classes: &[String]| -> Result<Vec<(PathBuf, u32)>, DataError> {
        let mut files = Vec::new();
        for (label, class) in classes.iter().enumerate() {
            let folder = dir.join(part).join(class);
            if !folder.is_dir() {
                continue;
            }
            let mut images = picture::list(&folder)?;
            if images.is_empty() {
                return Err(DataError::content(&folder, "no images", "a class folder holds .png, .jpg or .jpeg files"));
            }
            images.sort();
            files.extend(images.into_iter().map(|path| (path, label as u32)));
        }
        Ok(files)
    };
    let train_files = listed("train", &classes)?;
    let test_files = listed("test", &classes)?;
    // Grey only if every image is: one RGB image makes the set RGB.
    let first = picture::read(&train_files[0].0)?;
    let train = decode(&train_files, &first)?;
    let test = decode(&test_files, &first)?;
    let name = dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned());
    let normalization = match first.shape[0] {
        1 => Normalization::to_half(1, 255),
        _ => Normalization::standardized(&train),
    };
    Ok(Split { name, train, test, classes, normalization })
}

fn class_names(dir: &Path) -> Result<Vec<String>, DataError> {
    let entries = std::fs::read_dir(dir).map_err(|e| DataError::io(dir, e))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| DataError::io(dir, e))?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if names.is_empty() {
        return Err(DataError::content(dir, "no class folders", "images lie in train/<class>/ and test/<class>/"));
    }
    names.sort();
    Ok(names)
}

/// Decodes all files in parallel; every image must have the size and channels of the first one.
fn decode(files: &[(PathBuf, u32)], first: &Picture) -> Result<Dataset, DataError> {
    let len = first.shape.iter().product::<usize>();
    let mut pixels = vec![0; files.len() * len];
    files.par_iter().zip(pixels.par_chunks_mut(len)).try_for_each(|((path, _), out)| {
        let picture = picture::read(path)?;
        if picture.shape != first.shape {
            let show = |[c, h, w]: [usize; 3]| format!("{w}x{h} with {c} channel{}", if c == 1 { "" } else { "s" });
            return Err(DataError::content(
                path,
                format!("an image of {}", show(picture.shape)),
                format!("all images must have the first one's {}", show(first.shape)),
            ));
        }
        out.copy_from_slice(&picture.pixels);
        Ok(())
    })?;
    let labels = files.iter().map(|(_, label)| *label).collect();
    Ok(Dataset { shape: first.shape, pixels: Arc::new(pixels), labels: Arc::new(labels) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, shape: [usize; 3], value: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture::write(path, &Picture { shape, pixels: vec![value; shape.iter().product()] }).unwrap();
    }

    #[test]
    fn folders_load_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(load(root).unwrap_err().to_string().contains("train"));
        for part in ["train", "test"] {
            write(&root.join(part).join("cat/1.png"), [3, 4, 6], 10);
            write(&root.join(part).join("dog/2.png"), [3, 4, 6], 200);
        }
        let split = load(root).unwrap();
        assert_eq!((split.classes, split.train.shape), (vec!["cat".to_string(), "dog".into()], [3, 4, 6]));
        assert_eq!((*split.train.labels).clone(), [0, 1]);
        assert_eq!(split.train.image(1), [200; 72]);

        write(&root.join("test/dog/3.png"), [3, 4, 5], 0);
        let message = load(root).unwrap_err().to_string();
        assert!(message.ends_with("3.png: an image of 5x4 with 3 channels; all images must have the first one's 6x4 with 3 channels"), "{message}");
        std::fs::remove_file(root.join("test/dog/3.png")).unwrap();

        std::fs::write(root.join("test/dog/3.png"), b"not a picture").unwrap();
        assert!(load(root).unwrap_err().to_string().contains("3.png: not a readable picture"));
        std::fs::remove_file(root.join("test/dog/3.png")).unwrap();

        std::fs::create_dir_all(root.join("train/empty")).unwrap();
        assert!(load(root).unwrap_err().to_string().ends_with("empty: no images; a class folder holds .png, .jpg or .jpeg files"));
        std::fs::remove_dir(root.join("train/empty")).unwrap();

        write(&root.join("test/fox/1.png"), [3, 4, 6], 1);
        assert!(load(root).unwrap_err().to_string().contains("class fox is not in train/; the classes of train/ are cat, dog"));
    }
}
