//! From bytes to the network's input and back.

use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;

/// `x = scale * byte + shift`, per channel; saved with a run, so that its network always sees the same input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// One a channel.
    pub scale: Vec<f32>,
    /// One a channel.
    pub shift: Vec<f32>,
}

impl Normalization {
    /// Sends bytes `0..=largest` to `[-0.5, 0.5]`, in every channel.
    pub fn to_half(channels: usize, largest: u8) -> Self {
        Normalization { scale: vec![1.0 / f32::from(largest); channels], shift: vec![-0.5; channels] }
    }

    /// Standardises each channel with the mean and deviation of `train`, then scales all channels together so that the
    /// range of the standardised bytes is `[-0.5, 0.5]`: `x = ((byte - mean) / std - low) / (high - low) - 0.5`, where
    /// low and high are the extreme values that bytes 0 and 255 can take.
    pub fn standardized(train: &Dataset) -> Self {
        let [channels, height, width] = train.shape;
        let area = height * width;
        let mut sums = vec![(0u64, 0u64); channels];
        for (i, plane) in train.pixels.chunks_exact(area).enumerate() {
            let (sum, squares) = &mut sums[i % channels];
            for &byte in plane {
                *sum += u64::from(byte);
                *squares += u64::from(byte) * u64::from(byte);
            }
        }
        let count = (train.len() * area) as f64;
        let moments: Vec<(f64, f64)> = sums
            .iter()
            .map(|(sum, squares)| {
                let mean = *sum as f64 / count;
                // A channel of one value has no deviation to divide by.
                (mean, (*squares as f64 / count - mean * mean).sqrt().max(1.0))
            })
            .collect();
        let low = moments.iter().map(|(mean, std)| -mean / std).fold(f64::INFINITY, f64::min);
        let high = moments.iter().map(|(mean, std)| (255.0 - mean) / std).fold(f64::NEG_INFINITY, f64::max);
        Normalization {
            scale: moments.iter().map(|(_, std)| (1.0 / (std * (high - low))) as f32).collect(),
            shift: moments.iter().map(|(mean, std)| ((-mean / std - low) / (high - low) - 0.5) as f32).collect(),
        }
    }

    /// Appends the values of one CHW image to `out`.
    pub fn apply(&self, pixels: &[u8], out: &mut Vec<f32>) {
        let area = pixels.len() / self.scale.len();
        for (plane, (scale, shift)) in pixels.chunks_exact(area).zip(self.scale.iter().zip(&self.shift)) {
            out.extend(plane.iter().map(|byte| scale * f32::from(*byte) + shift));
        }
    }

    /// The byte that `apply` made `value` from, unrounded; not limited to what bytes hold.
    pub fn invert(&self, channel: usize, value: f32) -> f32 {
        (value - self.shift[channel]) / self.scale[channel]
    }

    /// Bytes of one CHW image in 0..=255 for display; `largest` is the byte that stands for white.
    pub fn to_pixels(&self, values: &[f32], largest: u8) -> Vec<u8> {
        let area = values.len() / self.scale.len();
        let gain = 255.0 / f32::from(largest);
        let byte = |(i, value): (usize, &f32)| (self.invert(i / area, *value) * gain).round().clamp(0.0, 255.0) as u8;
        values.iter().enumerate().map(byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn standardizing_is_affine_in_range_and_undone() {
        let pixels: Vec<u8> = (0..3 * 4 * 50).map(|i| (i * 7 % 256) as u8).collect();
        let set = Dataset { shape: [3, 2, 2], pixels: Arc::new(pixels), labels: Arc::new(vec![0; 50]) };
        let normalization = Normalization::standardized(&set);
        let mut values = Vec::new();
        for i in 0..set.len() {
            normalization.apply(set.image(i), &mut values);
        }
        assert!(values.iter().all(|v| (-0.5 - 1e-6..=0.5 + 1e-6).contains(v)));
        let mut ends = Vec::new();
        normalization.apply(&[0, 0, 0], &mut ends);
        normalization.apply(&[255, 255, 255], &mut ends);
        let (low, high) = (ends.iter().copied().fold(1.0, f32::min), ends.iter().copied().fold(-1.0, f32::max));
        assert!((low + 0.5).abs() < 1e-5 && (high - 0.5).abs() < 1e-5, "{ends:?}");
        assert_eq!(normalization.to_pixels(&values[..12], 255), set.image(0));
    }
}
