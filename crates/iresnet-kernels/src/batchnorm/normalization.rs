//! Batch statistics and the affine map that they make of a normalisation.

use rayon::prelude::*;

use crate::block::BlockPlan;
use crate::dropout::DropoutMask;
use crate::lane::{LANES, V, vectors};
use crate::level::leveled;
use crate::simd::Simd;
use crate::source::{Before, Source};

const EPS: f64 = 1e-5;

/// Mean and biased variance of one normalisation over a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// One a channel.
    pub mean: Vec<f32>,
    /// One a channel, biased.
    pub var: Vec<f32>,
    /// Values a channel that they were taken over.
    pub count: usize,
}

/// Lanes of pack number `pack` that hold real images, as factors.
pub(crate) fn lane_factors(pack: usize, samples: usize) -> V {
    std::array::from_fn(|lane| if pack * LANES + lane < samples { 1.0 } else { 0.0 })
}

/// `z -> scale z + shift`, and `xhat = (z - mean) inv_std`, of one normalisation.
pub(crate) struct Map {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub mean: Vec<f32>,
    pub inv_std: Vec<f32>,
}

/// What a convolution reads in training: the normalisation, if there is one, and κ before it; or nothing.
pub(crate) fn source<'a>(
    plan: &BlockPlan,
    map: Option<&'a Map>,
    z: &'a [V],
    mask: Option<DropoutMask<'a>>,
) -> Source<'a> {
    let before = Before {
        activation: map.map(|_| plan.shape.activation),
        affine: map.map(|map| (map.scale.as_slice(), map.shift.as_slice())),
    };
    Source { z, before, mask }
}

impl BlockPlan {
    /// Mean and biased variance of each channel over the real images: two passes, sums of rows in float64.
    pub(crate) fn moments_of(&self, source: &[f32], channels: usize, samples: usize) -> Moments {
        let area = self.shape.area();
        let len = channels * area * LANES;
        let count = samples * area;
        let means = |centre: Option<&[f32]>| -> Vec<f32> {
            let partials: Vec<Vec<f64>> = source
                .par_chunks(len)
                .enumerate()
                .map(|(pack, source)| {
                    let lanes = lane_factors(pack, samples);
                    let sums = channel_sums(self.level, vectors(source), area, channels, centre);
                    sums.iter().map(|sum| sum.iter().zip(lanes).map(|(s, lane)| f64::from(s * lane)).sum()).collect()
                })
                .collect();
            (0..channels).map(|c| (partials.iter().map(|p| p[c]).sum::<f64>() / count as f64) as f32).collect()
        };
        let mean = means(None);
        let var = means(Some(&mean));
        Moments { mean, var, count }
    }

    /// The map of normalisation `i`, if there is one.
    pub(crate) fn map(&self, i: usize, moments: &Option<Moments>, affine: &[f32]) -> Option<Map> {
        let moments = moments.as_ref()?;
        let channels: Vec<usize> = self.shape.channels().iter().map(|c| c.0).collect();
        let first = if self.shape.activate_input { 0 } else { 1 };
        let start: usize = channels[first..i].iter().map(|c| 2 * c).sum();
        let gamma = &affine[start..start + channels[i]];
        let beta = &affine[start + channels[i]..start + 2 * channels[i]];
        let inv_std: Vec<f32> = moments.var.iter().map(|v| (1.0 / (f64::from(*v) + EPS).sqrt()) as f32).collect();
        let scale: Vec<f32> = gamma.iter().zip(&inv_std).map(|(g, s)| g * s).collect();
        let shift = beta.iter().zip(&moments.mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Some(Map { scale, shift, mean: moments.mean.clone(), inv_std })
    }
}

/// Sum over the positions of each channel of the values, or of the squares of what is left of them without `centre`.
#[inline(always)]
fn channel_sums_inner<S: Simd>(source: &[V], area: usize, channels: usize, centre: Option<&[f32]>) -> Vec<V> {
    let mut sums = Vec::with_capacity(channels);
    for c in 0..channels {
        let mut sum = S::splat(0.0);
        let values = &source[c * area..(c + 1) * area];
        match centre {
            None => {
                for z in values {
                    sum = sum.add(S::load(z));
                }
            }
            Some(centre) => {
                let centre = S::splat(centre[c]);
                for z in values {
                    let d = S::load(z).sub(centre);
                    sum = d.mul_add(d, sum);
                }
            }
        }
        sums.push(sum.array());
    }
    sums
}
leveled!(fn channel_sums = channel_sums_inner(
    source: &[V], area: usize, channels: usize, centre: Option<&[f32]>
) -> Vec<V>);
