//! A block with a training BatchNorm before every κ: batch statistics couple the samples, so the passes over all packs
//! meet at each normalisation.
//!
//! Statistics run over N, H and W of the real images; unused lanes take no part and get no gradient. The semantics are
//! PyTorch's: biased variance in the normalisation, `eps = 1e-5`.

use rayon::prelude::*;

use crate::block::{BlockPlan, add_all, partitions};
use crate::buffer::{Scratch, with_workspace};
use crate::conv::{Output, convolve};
use crate::gradient::GradientSums;
use crate::level::leveled;
use crate::simd::Simd;
use crate::source::{Before, DropoutMask, Source};
use crate::{LANES, V, vectors, vectors_mut};

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

/// What the backward pass needs beside the block's input.
#[derive(Clone, Debug)]
pub struct BatchNormTape {
    moments: [Option<Moments>; 3],
    /// Outputs of the first and of the second convolution.
    inner: [Vec<f32>; 2],
    samples: usize,
}

impl BatchNormTape {
    /// Statistics of the three normalisations; the first is absent where the block does not activate its input.
    pub fn moments(&self) -> &[Option<Moments>; 3] {
        &self.moments
    }
}

/// Lanes of pack number `pack` that hold real images, as factors.
fn lane_factors(pack: usize, samples: usize) -> V {
    std::array::from_fn(|lane| if pack * LANES + lane < samples { 1.0 } else { 0.0 })
}

/// `z -> scale z + shift`, and `xhat = (z - mean) inv_std`, of one normalisation.
struct Map {
    scale: Vec<f32>,
    shift: Vec<f32>,
    mean: Vec<f32>,
    inv_std: Vec<f32>,
}

/// What a convolution reads in training: the normalisation, if there is one, and κ before it; or nothing.
fn source<'a>(plan: &BlockPlan, map: Option<&'a Map>, z: &'a [V], mask: Option<DropoutMask<'a>>) -> Source<'a> {
    let before = Before {
        activation: map.map(|_| plan.shape.activation),
        affine: map.map(|map| (map.scale.as_slice(), map.shift.as_slice())),
    };
    Source { z, before, mask }
}

impl BlockPlan {
    /// `y = x + h g(x)` with batch statistics over the `samples` real images.
    ///
    /// `affine` holds `scale, shift` of each normalisation there is (two or three), in order.
    pub fn forward_batchnorm(
        &self,
        x: &[f32],
        y: &mut [f32],
        samples: usize,
        affine: &[f32],
        mask: Option<DropoutMask<'_>>,
    ) -> BatchNormTape {
        let shape = &self.shape;
        let (len, middle) = (shape.image.pack_len(), shape.middle());
        let packs = x.len() / len;
        let mut inner = [vec![0.0; packs * middle * LANES], vec![0.0; packs * middle * LANES]];
        let mut moments: [Option<Moments>; 3] = [None, None, None];
        for i in 0..3 {
            let channels = shape.channels()[i].0;
            let (before, after) = inner.split_at_mut(1);
            let z: &[f32] = match i {
                0 => x,
                1 => &before[0],
                _ => &after[0],
            };
            if i > 0 || shape.activate_input {
                moments[i] = Some(self.moments_of(z, channels, samples));
            }
            let map = self.map(i, &moments[i], affine);
            let source_len = channels * shape.area() * LANES;
            let run = |pack: usize, z: &[f32], output: Output<'_>| {
                let mask = if i == 2 { mask.map(|m| m.of_pack(pack, middle)) } else { None };
                let source = source(self, map.as_ref(), vectors(z), mask);
                with_workspace(|workspace| {
                    convolve(self.level, &self.convs[i], source, true, &mut workspace.scratch, output);
                });
            };
            match i {
                0 => {
                    let packs = before[0].par_chunks_mut(middle * LANES).zip(x.par_chunks(source_len)).enumerate();
                    packs.for_each(|(pack, (out, z))| run(pack, z, Output::Store(vectors_mut(out))));
                }
                1 => {
                    let packs =
                        after[0].par_chunks_mut(middle * LANES).zip(before[0].par_chunks(source_len)).enumerate();
                    packs.for_each(|(pack, (out, z))| run(pack, z, Output::Store(vectors_mut(out))));
                }
                _ => {
                    let packs = y.par_chunks_mut(len).zip(x.par_chunks(len)).zip(after[0].par_chunks(source_len));
                    packs.enumerate().for_each(|(pack, ((out, x), z))| {
                        let (from, to) = (Some(vectors(x)), vectors_mut(out));
                        run(pack, z, Output::Add { from, to, step: shape.step });
                    });
                }
            }
        }
        BatchNormTape { moments, inner, samples }
    }

    /// `gradient` holds dL/dy and becomes dL/dx; dL/dw is added to `weights`, dL/d(scale, shift) to `affine_gradient`.
    ///
    /// # Panics
    /// If the plan was made for inference only.
    pub fn backward_batchnorm(
        &self,
        x: &[f32],
        tape: &BatchNormTape,
        affine: &[f32],
        gradient: &mut [f32],
        mask: Option<DropoutMask<'_>>,
        weights: &mut [f32],
        affine_gradient: &mut [f32],
    ) {
        let shape = &self.shape;
        let (len, middle) = (shape.image.pack_len(), shape.middle());
        let packs = x.len() / len;
        assert!(packs > 0 && x.len() == gradient.len(), "packs of {len} values in and out");
        let places = shape.places();
        let mut affine_end = affine_gradient.len();
        // Cotangent of the output of convolution i; the outermost is h dL/dy.
        let mut cotangent: Vec<f32> = gradient.iter().map(|g| g * shape.step).collect();
        for i in (0..3).rev() {
            let channels = shape.channels()[i].0;
            let z: &[f32] = if i == 0 { x } else { &tape.inner[i - 1] };
            let map = self.map(i, &tape.moments[i], affine);
            let (from, to) = (cotangent.len() / packs, channels * shape.area() * LANES);
            let mut pulled = vec![0.0; packs * to];
            // Weight gradients, and the cotangent of what the normalisation gives.
            let partials: Vec<(Vec<f32>, Vec<f64>)> = partitions(&mut pulled, to)
                .into_par_iter()
                .map(|(first, run)| {
                    let mut partial = vec![0.0; places[2 * i].len() + places[2 * i + 1].len()];
                    let mut moments = vec![0.0f64; 2 * channels];
                    with_workspace(|workspace| {
                        let sums = &mut workspace.sums[0];
                        let mut sums = GradientSums::new(shape.conv(i), self.level, &mut partial, sums);
                        for (n, out) in run.chunks_exact_mut(to).enumerate() {
                            let pack = first + n;
                            let mask = if i == 2 { mask.map(|m| m.of_pack(pack, middle)) } else { None };
                            let z = vectors(&z[pack * to..(pack + 1) * to]);
                            let source = source(self, map.as_ref(), z, mask);
                            let cotangent = vectors(&cotangent[pack * from..(pack + 1) * from]);
                            let (out, scratch) = (vectors_mut(out), &mut workspace.scratch);
                            sums.add(source, cotangent, 1.0, scratch);
                            self.pull_back(i, map.as_ref(), source, cotangent, out, &mut moments, scratch);
                        }
                        sums.finish();
                    });
                    (partial, moments)
                })
                .collect();
            let (partials, sums): (Vec<Vec<f32>>, Vec<Vec<f64>>) = partials.into_iter().unzip();
            add_all(&mut weights[places[2 * i].start..places[2 * i + 1].end], &partials);
            if let (Some(map), Some(moments)) = (&map, &tape.moments[i]) {
                let mut total = vec![0.0f64; 2 * channels];
                for sum in &sums {
                    total.iter_mut().zip(sum).for_each(|(t, s)| *t += s);
                }
                let start = affine_end - 2 * channels;
                for (to, sum) in affine_gradient[start..affine_end].iter_mut().zip(&total) {
                    *to += *sum as f32;
                }
                affine_end = start;
                self.through_statistics(z, map, moments.count, tape.samples, &total, &mut pulled, to);
            }
            cotangent = pulled;
        }
        gradient.par_iter_mut().zip(&cotangent).for_each(|(g, c)| *g += c);
    }

    /// `dz = scale (dn - mean(dn) - xhat mean(dn xhat))`, `scale = gamma / std`; `totals` holds the sums of `dn xhat`
    /// and of `dn`.
    fn through_statistics(
        &self,
        source: &[f32],
        map: &Map,
        count: usize,
        samples: usize,
        totals: &[f64],
        pulled: &mut [f32],
        len: usize,
    ) {
        let area = self.shape.area();
        pulled.par_chunks_mut(len).zip(source.par_chunks(len)).enumerate().for_each(|(pack, (out, source))| {
            let statistics = Statistics { map, totals, count, lanes: lane_factors(pack, samples) };
            pull_through(self.level, &statistics, area, vectors(source), vectors_mut(out));
        });
    }

    /// Mean and biased variance of each channel over the real images: two passes, sums of rows in float64.
    fn moments_of(&self, source: &[f32], channels: usize, samples: usize) -> Moments {
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
    fn map(&self, i: usize, moments: &Option<Moments>, affine: &[f32]) -> Option<Map> {
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

/// What the gradient through batch statistics needs of one pack.
struct Statistics<'a> {
    map: &'a Map,
    totals: &'a [f64],
    count: usize,
    lanes: V,
}

#[inline(always)]
fn pull_through_inner<S: Simd>(statistics: &Statistics<'_>, area: usize, source: &[V], out: &mut [V]) {
    let Statistics { map, totals, count, lanes } = statistics;
    let channels = map.scale.len();
    for c in 0..channels {
        let along = S::splat((totals[c] / *count as f64) as f32);
        let constant = S::splat((totals[channels + c] / *count as f64) as f32);
        let scale = S::load(lanes).mul(S::splat(map.scale[c]));
        let (mean, inv_std) = (S::splat(map.mean[c]), S::splat(map.inv_std[c]));
        for (d, z) in out[c * area..(c + 1) * area].iter_mut().zip(&source[c * area..(c + 1) * area]) {
            let xhat = S::load(z).sub(mean).mul(inv_std);
            scale.mul(S::load(d).sub(constant).sub(xhat.mul(along))).store(d);
        }
    }
}
leveled!(fn pull_through = pull_through_inner(statistics: &Statistics<'_>, area: usize, source: &[V], out: &mut [V]));

impl BlockPlan {
    /// Writes the cotangent of the normalised values, and adds the sums of `dn xhat` and of `dn` to `moments`.
    fn pull_back(
        &self,
        i: usize,
        map: Option<&Map>,
        source: Source<'_>,
        cotangent: &[V],
        out: &mut [V],
        moments: &mut [f64],
        scratch: &mut Scratch,
    ) {
        let adjoint = &self.adjoints.as_ref().expect("a plan made for training")[i];
        convolve(self.level, adjoint, Source::plain(cotangent), false, scratch, Output::Store(out));
        through_activation(self.level, source, map, self.shape.area(), out, moments);
    }
}

#[inline(always)]
fn through_activation_inner<S: Simd>(
    source: Source<'_>,
    map: Option<&Map>,
    area: usize,
    out: &mut [V],
    moments: &mut [f64],
) {
    let channels = moments.len() / 2;
    for c in 0..channels {
        let (mut along, mut constant) = (S::splat(0.0), S::splat(0.0));
        let (mean, inv_std) = match map {
            Some(map) => (S::splat(map.mean[c]), S::splat(map.inv_std[c])),
            None => (S::splat(0.0), S::splat(0.0)),
        };
        for at in c * area..(c + 1) * area {
            let (z, mut v) = (S::load(&source.z[at]), S::load(&out[at]));
            if let Some(mask) = source.mask {
                v = v.keep(mask.bits[at]).mul(S::splat(mask.scale));
            }
            let v = v.mul(source.before.slope(c, z));
            v.store(&mut out[at]);
            along = v.mul_add(z.sub(mean).mul(inv_std), along);
            constant = constant.add(v);
        }
        // Unused lanes carry a zero cotangent from the loss on, so they add nothing.
        moments[c] += along.array().iter().map(|s| f64::from(*s)).sum::<f64>();
        moments[channels + c] += constant.array().iter().map(|s| f64::from(*s)).sum::<f64>();
    }
}
leveled!(fn through_activation = through_activation_inner(
    source: Source<'_>, map: Option<&Map>, area: usize, out: &mut [V], moments: &mut [f64]
));
