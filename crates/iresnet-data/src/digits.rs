//! UCI Optical Recognition of Handwritten Digits (test part, 1,797 images of 8x8), built into the binary.
//!
//! Of each class, every fifth image, from the first on, belongs to the test set (364 images), the others to the
//! training set (1,433).
//! Neighbouring rows tend to be one writer's, so both sets have the same writers, as a random split would: the nearest
//! neighbour in the training set errs on 1 to 2 % of such a test set. (Of the last 360 rows, by other writers, it errs
//! on 4.4 %.)
//! Values 0 to 16 are stored as bytes and scaled to [-0.5, 0.5].

use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;

use crate::dataset::Dataset;
use crate::normalization::Normalization;
use crate::split::Split;

const FILE: &[u8] = include_bytes!("../assets/digits.csv.gz");
const TEST_EVERY: usize = 5;

pub(crate) fn load() -> Split {
    let mut text = String::new();
    GzDecoder::new(FILE).read_to_string(&mut text).expect("the embedded file is sound");
    let rows: Vec<Vec<u8>> =
        text.lines().map(|line| line.split(',').map(|v| v.parse().expect("small numbers")).collect()).collect();
    let mut seen = [0usize; 10];
    let (test, train): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| {
        let count = &mut seen[usize::from(row[64])];
        *count += 1;
        *count % TEST_EVERY == 1
    });
    let part = |rows: &[Vec<u8>]| Dataset {
        shape: [1, 8, 8],
        pixels: Arc::new(rows.iter().flat_map(|row| row[..64].iter().copied()).collect()),
        labels: Arc::new(rows.iter().map(|row| u32::from(row[64])).collect()),
    };
    Split {
        name: "digits".into(),
        train: part(&train),
        test: part(&test),
        classes: (0..10).map(|d| d.to_string()).collect(),
        normalization: Normalization::to_half(1, 16),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn has_the_documented_split_and_all_classes() {
        let split = super::load();
        assert_eq!((split.train.len(), split.test.len()), (1433, 364));
        for part in [&split.train, &split.test] {
            assert_eq!(part.pixels.len(), 64 * part.len());
            assert_eq!(*part.pixels.iter().max().unwrap(), 16);
            let mut seen = [0usize; 10];
            part.labels.iter().for_each(|l| seen[*l as usize] += 1);
            // Balanced to a tenth.
            assert!(seen.iter().all(|n| (n * 10).abs_diff(part.len()) * 10 <= part.len()), "{seen:?}");
        }
    }
}
