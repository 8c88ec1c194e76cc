//! Single pictures: PNG and JPEG files in, PNG files and contact sheets out.

use std::path::{Path, PathBuf};

use super::DataError;

/// One picture as CHW bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Channels (1 or 3), height, width.
    pub shape: [usize; 3],
    /// CHW.
    pub pixels: Vec<u8>,
}

/// The .png, .jpg and .jpeg files of a folder.
///
/// # Errors
/// A folder that cannot be listed.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| DataError::io(folder, e))? {
        let path = entry.map_err(|e| DataError::io(folder, e))?.path();
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) {
            files.push(path);
        }
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

/// Writes a PNG file, beside its place first.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, picture: &Picture) -> Result<(), DataError> {
    let [channels, height, width] = picture.shape;
    let area = height * width;
    let interleaved: Vec<u8> = (0..area).flat_map(|at| (0..channels).map(move |c| picture.pixels[c * area + at])).collect();
    let kind = if channels == 1 { image::ExtendedColorType::L8 } else { image::ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    image::ImageEncoder::write_image(encoder, &interleaved, width as u32, height as u32, kind)
        .map_err(|e| DataError::io(path, std::io::Error::other(e)))?;
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path)).map_err(|e| DataError::io(path, e))
}

/// Rows of pictures of one shape, enlarged `scale` times, with thin lines between them.
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
