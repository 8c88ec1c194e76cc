//! Single pictures: PNG and JPEG files in, PNG files and contact sheets out.

use std::path::{Path, PathBuf};

use crate::error::DataError;

/// One picture as CHW bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Channels (1 or 3), height, width.
    pub shape: [usize; 3],
    /// CHW.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// The same picture with three channels; a grey one's are equal.
    pub fn into_rgb(self) -> Picture {
        match self.shape {
            [1, height, width] => Picture { shape: [3, height, width], pixels: self.pixels.repeat(3) },
            _ => self,
        }
    }
}

/// What a folder holds, in the order of the names, without hidden files and folders.
pub(crate) fn visible(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| DataError::io(folder, e))? {
        let entry = entry.map_err(|e| DataError::io(folder, e))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

/// The .png, .jpg and .jpeg files of a folder in the order of their names, without hidden ones.
///
/// # Errors
/// A folder that cannot be listed.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(visible(folder)?.into_iter().filter(|path| is_picture(path)).collect())
}

/// The same of a folder and all folders in it, folder by folder; links to folders are not followed.
///
/// # Errors
/// A folder that cannot be listed.
pub fn list_all(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let paths = visible(folder)?;
    let mut files: Vec<PathBuf> = paths.iter().filter(|path| is_picture(path)).cloned().collect();
    for folder in paths.iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        files.extend(list_all(folder)?);
    }
    Ok(files)
}

/// Decodes a PNG or JPEG file; grey pictures have one channel, all others three (transparency is dropped).
///
/// # Errors
/// A file that cannot be read or decoded.
pub fn read(path: &Path) -> Result<Picture, DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    let image = image::load_from_memory(&bytes).map_err(|e| {
        DataError::content(path, format!("not a readable picture ({e})"), "PNG and JPEG files can be read")
    })?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if !image.color().has_color() {
        return Ok(Picture { shape: [1, height, width], pixels: image.into_luma8().into_raw() });
    }
    let interleaved = image.into_rgb8().into_raw();
    let pixels = (0..3).flat_map(|c| interleaved[c..].iter().step_by(3).copied()).collect();
    Ok(Picture { shape: [3, height, width], pixels })
}

/// A picture of 1 or 3 channels as the bytes of a PNG file.
///
/// # Errors
/// A picture that PNG does not hold.
pub fn encode(picture: &Picture) -> std::io::Result<Vec<u8>> {
    let [channels, height, width] = picture.shape;
    let area = height * width;
    let interleaved: Vec<u8> =
        (0..area).flat_map(|at| (0..channels).map(move |c| picture.pixels[c * area + at])).collect();
    let kind = if channels == 1 { image::ExtendedColorType::L8 } else { image::ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    image::ImageEncoder::write_image(encoder, &interleaved, width as u32, height as u32, kind)
        .map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// Writes a PNG file of 1 or 3 channels, beside its place first.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, picture: &Picture) -> Result<(), DataError> {
    let written = encode(picture).and_then(|bytes| crate::files::replace_file(path, &bytes));
    written.map_err(|e| DataError::write(path, e))
}

/// Rows of pictures of one shape, enlarged `scale` times, with thin lines between them; rows may differ in length.
///
/// # Panics
/// Without a first picture, or if another one's shape differs from it.
pub fn contact_sheet(rows: &[Vec<Picture>], scale: usize) -> Picture {
    const GAP: usize = 2;
    const BACKGROUND: u8 = 96;
    let [channels, height, width] = rows[0][0].shape;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (cell_height, cell_width) = (height * scale + GAP, width * scale + GAP);
    let shape = [channels, rows.len() * cell_height + GAP, columns * cell_width + GAP];
    let mut pixels = vec![BACKGROUND; shape.iter().product()];
    for (r, row) in rows.iter().enumerate() {
        for (k, picture) in row.iter().enumerate() {
            assert_eq!(picture.shape, rows[0][0].shape, "pictures of one sheet have one shape");
            for c in 0..channels {
                for y in 0..height * scale {
                    let from = &picture.pixels[(c * height + y / scale) * width..][..width];
                    let to = (c * shape[1] + r * cell_height + GAP + y) * shape[2] + k * cell_width + GAP;
                    for x in 0..width * scale {
                        pixels[to + x] = from[x / scale];
                    }
                }
            }
        }
    }
    Picture { shape, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_pictures_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        for channels in [1, 3] {
            let shape = [channels, 4, 5];
            let picture = Picture { shape, pixels: (0..channels * 20).map(|i| (i * 4) as u8).collect() };
            let path = dir.path().join(format!("{channels}.png"));
            write(&path, &picture).unwrap();
            assert_eq!(read(&path).unwrap(), picture);
        }
        let names: Vec<_> = list(dir.path()).unwrap().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["1.png", "3.png"]);
    }

    #[test]
    fn jpeg_is_read_and_other_things_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        let mut bytes = Vec::new();
        let flat: Vec<u8> = [200, 100, 50].repeat(64);
        image::codecs::jpeg::JpegEncoder::new(&mut bytes).encode(&flat, 8, 8, image::ExtendedColorType::Rgb8).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let picture = read(&path).unwrap();
        assert_eq!(picture.shape, [3, 8, 8]);
        // One colour survives JPEG up to the rounding of its colour space.
        for (plane, value) in picture.pixels.chunks(64).zip([200u8, 100, 50]) {
            assert!(plane.iter().all(|p| p.abs_diff(value) <= 3), "{plane:?}");
        }
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("a.jpg: not a readable picture"));
        let missing = read(&dir.path().join("none.png")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read ") && missing.contains("none.png"), "{missing}");
        let nowhere = dir.path().join("no/where.png");
        let refused = write(&nowhere, &picture).unwrap_err().to_string();
        assert!(refused.starts_with("cannot write ") && refused.contains("where.png"), "{refused}");
    }

    #[test]
    fn sheets_hold_enlarged_pictures_between_lines() {
        let picture = |value| Picture { shape: [1, 1, 1], pixels: vec![value] };
        let sheet = contact_sheet(&[vec![picture(1), picture(2)], vec![picture(3)]], 2);
        assert_eq!(sheet.shape, [1, 10, 10]);
        let at = |y: usize, x: usize| sheet.pixels[y * 10 + x];
        assert_eq!([at(2, 2), at(3, 3), at(2, 6), at(6, 2), at(7, 3)], [1, 1, 2, 3, 3]);
        assert_eq!([at(0, 0), at(4, 4), at(6, 6), at(9, 9)], [96; 4]);
    }
}
