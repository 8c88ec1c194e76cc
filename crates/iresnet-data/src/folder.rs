//! Any image folder: `train/<class>/*.png|jpg` and `test/<class>/...`, all images of one size, grey or RGB.
//!
//! Classes are numbered in the order of their names, images come in the order of theirs; hidden files and folders are
//! passed over. The set is grey if every image is, otherwise grey images get three equal channels.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::normalization::Normalization;
use crate::picture::{self, Picture};
use crate::split::{FOLDER, Split};

pub(crate) fn load(dir: &Path) -> Result<Split, DataError> {
    let classes = class_names(&dir.join("train"))?;
    let test_classes = class_names(&dir.join("test"))?;
    let expected = || format!("the classes of train/ are {}", classes.join(", "));
    if let Some(stranger) = test_classes.iter().find(|c| !classes.contains(c)) {
        return Err(DataError::content(&dir.join("test"), format!("class {stranger} is not in train/"), expected()));
    }
    if let Some(missing) = classes.iter().find(|c| !test_classes.contains(c)) {
        return Err(DataError::content(&dir.join("test"), format!("class {missing} is missing"), expected()));
    }
    let listed = |part: &str| -> Result<Vec<(PathBuf, u32)>, DataError> {
        let mut files = Vec::new();
        for (label, class) in classes.iter().enumerate() {
            let folder = dir.join(part).join(class);
            let images = picture::list(&folder)?;
            if images.is_empty() {
                return Err(DataError::content(&folder, "no images", "a class folder holds .png, .jpg or .jpeg files"));
            }
            files.extend(images.into_iter().map(|path| (path, label as u32)));
        }
        Ok(files)
    };
    let (train_files, test_files) = (listed("train")?, listed("test")?);
    let [_, height, width] = picture::read(&train_files[0].0)?.shape;
    let (train, test) = (decode(&train_files, [height, width])?, decode(&test_files, [height, width])?);
    let grey = train.iter().chain(&test).all(|picture| picture.shape[0] == 1);
    let train = dataset(train, &train_files, grey);
    let test = dataset(test, &test_files, grey);
    // The full path, since the name of `.` or of a link says little.
    let path = dir.canonicalize().map_err(|e| DataError::io(dir, e))?;
    let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    // A folder that is called cifar10 need not hold the official pixels.
    let name = format!("{name}{FOLDER}");
    let normalization = match train.shape[0] {
        1 => Normalization::to_half(1, 255),
        _ => Normalization::standardized(&train),
    };
    Ok(Split { name, train, test, classes, normalization })
}

fn class_names(dir: &Path) -> Result<Vec<String>, DataError> {
    let folders = picture::visible(dir)?.into_iter().filter(|path| path.is_dir());
    let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = folders.filter_map(name).collect();
    if names.is_empty() {
        return Err(DataError::content(dir, "no class folders", "images lie in train/<class>/ and test/<class>/"));
    }
    names.sort();
    Ok(names)
}

/// Decodes all files in parallel; every image must have the given height and width.
fn decode(files: &[(PathBuf, u32)], [height, width]: [usize; 2]) -> Result<Vec<Picture>, DataError> {
    let decode = |(path, _): &(PathBuf, u32)| {
        let picture = picture::read(path)?;
        let [_, own_height, own_width] = picture.shape;
        if [own_height, own_width] == [height, width] {
            return Ok(picture);
        }
        Err(DataError::content(
            path,
            format!("an image of {own_width}x{own_height}"),
            format!("all images must have the first training image's size, {width}x{height}"),
        ))
    };
    files.par_iter().map(decode).collect()
}

/// Joins decoded pictures of one size.
fn dataset(pictures: Vec<Picture>, files: &[(PathBuf, u32)], grey: bool) -> Dataset {
    let [_, height, width] = pictures[0].shape;
    let shape = [if grey { 1 } else { 3 }, height, width];
    let mut pixels = Vec::with_capacity(pictures.len() * shape.iter().product::<usize>());
    for picture in pictures {
        pixels.extend(if grey { picture.pixels } else { picture.into_rgb().pixels });
    }
    let labels = files.iter().map(|(_, label)| *label).collect();
    Dataset { shape, pixels: Arc::new(pixels), labels: Arc::new(labels) }
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
        let expected = "3.png: an image of 5x4; all images must have the first training image's size, 6x4";
        assert!(message.ends_with(expected), "{message}");
        std::fs::remove_file(root.join("test/dog/3.png")).unwrap();

        std::fs::write(root.join("test/dog/3.png"), b"not a picture").unwrap();
        assert!(load(root).unwrap_err().to_string().contains("3.png: not a readable picture"));
        std::fs::remove_file(root.join("test/dog/3.png")).unwrap();

        for part in ["train", "test"] {
            std::fs::create_dir_all(root.join(part).join("empty")).unwrap();
        }
        assert!(
            load(root)
                .unwrap_err()
                .to_string()
                .ends_with("empty: no images; a class folder holds .png, .jpg or .jpeg files")
        );
        for part in ["train", "test"] {
            std::fs::remove_dir(root.join(part).join("empty")).unwrap();
        }

        write(&root.join("test/fox/1.png"), [3, 4, 6], 1);
        assert!(
            load(root)
                .unwrap_err()
                .to_string()
                .contains("class fox is not in train/; the classes of train/ are cat, dog")
        );
        std::fs::remove_dir_all(root.join("test/fox")).unwrap();

        std::fs::remove_dir_all(root.join("test/dog")).unwrap();
        assert!(
            load(root).unwrap_err().to_string().contains("class dog is missing; the classes of train/ are cat, dog")
        );
    }

    #[test]
    fn a_set_is_grey_only_if_every_image_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("digits");
        for part in ["train", "test"] {
            write(&root.join(part).join("a/1.png"), [1, 2, 2], 7);
            std::fs::create_dir_all(root.join(part).join(".hidden")).unwrap();
            std::fs::write(root.join(part).join("a/._1.png"), b"not a picture").unwrap();
        }
        let split = load(&root).unwrap();
        assert_eq!((split.train.shape, split.name.as_str()), ([1, 2, 2], "digits (image folder)"));
        assert_eq!(split.normalization, Normalization::to_half(1, 255));

        write(&root.join("test/a/2.png"), [3, 2, 2], 9);
        let split = load(&root).unwrap();
        assert_eq!((split.train.shape, split.test.shape), ([3, 2, 2], [3, 2, 2]));
        assert_eq!((split.train.image(0), split.test.image(1)), ([7; 12].as_slice(), [9; 12].as_slice()));
    }
}
