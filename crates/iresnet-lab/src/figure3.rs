//! Figure 3: test images and their reconstructions after some numbers of iterations, all networks.

use iresnet::data::picture::{Picture, contact_sheet};
use iresnet::data::{Dataset, Split};
use iresnet::measure::Measure;
use iresnet::solve::Picard;
use iresnet::train::RunRecord;
use serde::{Deserialize, Serialize};

use crate::networks::Network;
use crate::progress::tell;
use crate::round_trip::RoundTrip;
use crate::{LabError, Progress};

/// Iterations a block that are shown.
pub const COUNTS: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 50, 100];

/// Test images that are shown.
pub const SHOWN: usize = 10;

/// Reconstructions of one network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reconstructions {
    /// Label of the model.
    pub model: String,
    /// For each of the counts the bytes of the pictures, `[image, channels, height, width]`, 255 for white.
    #[serde(with = "hexadecimal")]
    pub pixels: Vec<Vec<u8>>,
    /// For each of the counts the mean of `||x - x^|| / ||x||` over these images.
    pub errors: Vec<Measure>,
}

/// The shown images and all networks' reconstructions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure3 {
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
    /// Iterations a block.
    pub counts: Vec<usize>,
    /// Names of the images' classes.
    pub classes: Vec<String>,
    /// The images themselves, as one of [`Reconstructions::pixels`].
    #[serde(with = "hexadecimal")]
    pub originals: Vec<Vec<u8>>,
    /// One a network.
    pub networks: Vec<Reconstructions>,
}

/// The test images that are shown.
fn shown(data: &Split) -> Dataset {
    data.test.spread(SHOWN)
}

/// The images that are shown, before any network.
pub fn originals(record: &RunRecord, data: &Split) -> Figure3 {
    let shown = shown(data);
    let gain = 255.0 / f32::from(record.white());
    Figure3 {
        shape: shown.shape,
        counts: COUNTS.to_vec(),
        classes: shown.labels.iter().map(|label| data.classes[*label as usize].clone()).collect(),
        originals: vec![shown.pixels.iter().map(|byte| (f32::from(*byte) * gain).round() as u8).collect()],
        networks: Vec::new(),
    }
}

/// Reconstructions of the shown images by one network.
///
/// # Errors
/// A refuted certificate.
pub fn reconstructions(network: &Network, data: &Split, progress: Progress<'_>) -> Result<Reconstructions, LabError> {
    let shown = shown(data);
    let (record, trip) = (&network.record, RoundTrip::new(network, &shown));
    let (mut pixels, mut errors) = (Vec::new(), Vec::new());
    let (mut done, all) = (0, COUNTS.iter().sum());
    for count in COUNTS {
        let reconstructed = trip.invert(&Picard, count)?;
        let images = reconstructed.images.chunks_exact(shown.image_len());
        pixels.push(images.flat_map(|image| record.normalization.to_pixels(image, record.white())).collect());
        errors.push(Measure(reconstructed.mean_error()));
        done += count;
        tell(progress, done, all);
    }
    Ok(Reconstructions { model: network.label(), pixels, errors })
}

impl Figure3 {
    /// The pictures of `rows` side by side and below each other, without gaps.
    pub fn sprite(&self, rows: &[Vec<u8>]) -> Picture {
        let [channels, height, width] = self.shape;
        let columns = rows.first().map_or(0, |row| row.len() / (channels * height * width));
        let shape = [channels, rows.len() * height, columns * width];
        let mut pixels = vec![0; shape.iter().product()];
        for (r, row) in rows.iter().enumerate() {
            for (at, line) in row.chunks_exact(width).enumerate() {
                let (image, c, y) = (at / (channels * height), at / height % channels, at % height);
                let to = (c * shape[1] + r * height + y) * shape[2] + image * width;
                pixels[to..to + width].copy_from_slice(line);
            }
        }
        Picture { shape, pixels }
    }

    /// Images in the first row, below them each network's reconstructions after the most iterations.
    pub fn sheet(&self) -> Picture {
        let [channels, height, width] = self.shape;
        let pictures = |row: &Vec<u8>| -> Vec<Picture> {
            let images = row.chunks_exact(channels * height * width);
            images.map(|pixels| Picture { shape: self.shape, pixels: pixels.to_vec() }).collect()
        };
        let last = self.networks.iter().filter_map(|network| network.pixels.last());
        let rows: Vec<Vec<Picture>> = self.originals.iter().chain(last).map(pictures).collect();
        contact_sheet(&rows, (64 / height.max(1)).max(1))
    }
}

/// Bytes as text, two digits each.
mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(rows: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(rows.iter().map(|row| row.iter().map(|b| format!("{b:02x}")).collect::<String>()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let rows = Vec::<String>::deserialize(deserializer)?;
        let byte = |text: &[u8]| {
            let digits = std::str::from_utf8(text).ok().filter(|digits| digits.len() == 2);
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
        };
        let row = |text: &String| text.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>();
        rows.iter()
            .map(row)
            .collect::<Option<_>>()
            .ok_or_else(|| D::Error::custom("bytes are two hexadecimal digits each"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure3 {
        Figure3 {
            shape: [3, 1, 2],
            counts: vec![0],
            classes: vec!["a".into(), "b".into()],
            originals: vec![(0..12).collect()],
            networks: vec![],
        }
    }

    #[test]
    fn sprites_put_images_beside_and_counts_below_each_other() {
        let sprite = figure().sprite(&[(0..12).collect(), (100..112).collect()]);
        assert_eq!(sprite.shape, [3, 2, 4]);
        // Red plane, then green: first image has 0, 1 | 2, 3 | 4, 5, second 6, 7 | 8, 9 | 10, 11.
        assert_eq!(sprite.pixels[..8], [0, 1, 6, 7, 100, 101, 106, 107]);
        assert_eq!(sprite.pixels[8..12], [2, 3, 8, 9]);
    }

    #[test]
    fn bytes_survive_json() {
        let text = serde_json::to_string(&figure()).unwrap();
        assert!(text.contains("\"000102030405060708090a0b\""), "{text}");
        assert_eq!(serde_json::from_str::<Figure3>(&text).unwrap().originals, figure().originals);
        for broken in ["00010", "0g"] {
            let text = text.replace("000102030405060708090a0b", broken);
            assert!(serde_json::from_str::<Figure3>(&text).unwrap_err().to_string().contains("hexadecimal"));
        }
    }
}
