//! The backward pass through batch statistics.

use rayon::prelude::*;

use crate::batchnorm::forward::BatchNormTape;
use crate::batchnorm::normalization::{Map, lane_factors, source};
use crate::block::{BlockPlan, add_all, partitions};
use crate::buffer::{Scratch, with_workspace};
use crate::conv::{GradientSums, convolve};
use crate::dropout::DropoutMask;
use crate::lane::{LANES, V, vectors, vectors_mut};
use crate::level::leveled;
use crate::output::Output;
use crate::simd::Simd;
use crate::source::Source;

impl BlockPlan {
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
