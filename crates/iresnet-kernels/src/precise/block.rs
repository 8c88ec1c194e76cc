//! The branch of a block in float64, and products with its Jacobian.

use std::sync::Arc;

use crate::block::{Affine, BlockShape};
use crate::level::Level;
use crate::precise::conv::{D, convolve};
use crate::precise::rounding::Stage;
use crate::reference::{activate, derivative};

/// A block's weights, for evaluations of `h g` in float64 and for the scale at which evaluations round.
///
/// The float32 weights are shared with the caller; a call widens them for as long as it runs.
#[derive(Clone, Debug)]
pub struct PreciseBlock {
    shape: BlockShape,
    weights: Arc<[f32]>,
    affine: Option<[(Vec<f32>, Vec<f32>); 3]>,
    stages: [Stage; 3],
}

/// Kernels and biases in float64.
struct Wide {
    kernels: [Vec<f64>; 3],
    biases: [Vec<f64>; 3],
}

impl PreciseBlock {
    /// Of the flat `weights` in use (`w1, b1, w2, b2, w3, b3` in PyTorch's layouts).
    ///
    /// # Panics
    /// If the lengths do not fit `shape`.
    pub fn new(shape: &BlockShape, weights: Arc<[f32]>, affine: Option<[Affine<'_>; 3]>) -> Self {
        assert_eq!(weights.len(), shape.num_weights(), "weights of {shape:?}");
        let places = shape.places();
        let stages = [0, 1, 2].map(|i| {
            let (weight, bias) = (&weights[places[2 * i].clone()], &weights[places[2 * i + 1].clone()]);
            let prepared = i > 0 || shape.activate_input;
            let map = affine.as_ref().map(|maps| maps[i]).filter(|_| prepared);
            Stage::new(weight, bias, &shape.conv(i), prepared.then_some(shape.activation), map)
        });
        let affine = affine.map(|maps| maps.map(|map| (map.scale.to_vec(), map.shift.to_vec())));
        PreciseBlock { shape: *shape, weights, affine, stages }
    }

    /// Norm of what evaluating `h g` adds up at an image of length `norm`, terms that cancel included: the scale at which
    /// it rounds.
    pub fn magnitude(&self, norm: f64) -> f64 {
        self.stages.iter().fold(norm, |size, stage| stage.magnitude(size)) * f64::from(self.shape.step).abs()
    }

    /// Bound on the norm of what [`Self::branch`] is wrong by at an image of length `norm`.
    ///
    /// Each of the `N` operations in a row multiplies by at most `1 + u`, so that the error is at most `(1 + u)^N - 1` of
    /// the sum of absolute values (Higham 2002, section 3.1); a hundredth more covers its powers and this arithmetic.
    pub fn rounding(&self, norm: f64) -> f64 {
        let operations = self.stages.iter().map(|stage| stage.operations).sum::<f64>() + 1.0;
        1.01 * operations * (0.5 * f64::EPSILON) * self.magnitude(norm)
    }

    /// `h g(x)` of packs, each lane on its own.
    ///
    /// # Panics
    /// If the slices do not hold equally many whole packs.
    pub fn branch(&self, x: &[f64], out: &mut [f64]) {
        let len = self.pack_len(&[x.len(), out.len()]);
        let wide = self.widened();
        let (mut z, mut next): (Vec<D>, Vec<D>) = Default::default();
        for (x, out) in x.chunks_exact(len).zip(out.chunks_exact_mut(len)) {
            z.clear();
            z.extend_from_slice(x.as_chunks().0);
            for i in 0..3 {
                self.prepare(i, &mut z, None);
                self.convolve(i, &wide.kernels[i], &wide.biases[i], &mut z, &mut next);
            }
            self.scale_to(&z, out);
        }
    }

    /// `h J_g(x) v` of packs, each lane on its own; the derivative at the kink of ReLU is 0.
    ///
    /// # Panics
    /// If the slices do not hold equally many whole packs.
    pub fn branch_jvp(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        let len = self.pack_len(&[x.len(), v.len(), out.len()]);
        let wide = self.widened();
        let (mut z, mut tangent, mut slopes, mut next): (Vec<D>, Vec<D>, Vec<D>, Vec<D>) = Default::default();
        for ((x, v), out) in x.chunks_exact(len).zip(v.chunks_exact(len)).zip(out.chunks_exact_mut(len)) {
            z.clear();
            z.extend_from_slice(x.as_chunks().0);
            tangent.clear();
            tangent.extend_from_slice(v.as_chunks().0);
            for i in 0..3 {
                self.prepare(i, &mut z, Some(&mut slopes));
                multiply(&mut tangent, &slopes);
                let unbiased = vec![0.0; wide.biases[i].len()];
                self.convolve(i, &wide.kernels[i], &unbiased, &mut tangent, &mut next);
                if i < 2 {
                    self.convolve(i, &wide.kernels[i], &wide.biases[i], &mut z, &mut next);
                }
            }
            self.scale_to(&tangent, out);
        }
    }

    /// `h J_g(x)^T cotangent` of packs, each lane on its own; the derivative at the kink of ReLU is 0.
    ///
    /// # Panics
    /// If the slices do not hold equally many whole packs.
    pub fn branch_vjp(&self, x: &[f64], cotangent: &[f64], out: &mut [f64]) {
        let len = self.pack_len(&[x.len(), cotangent.len(), out.len()]);
        let wide = self.widened();
        let adjoints = [0, 1, 2].map(|i| self.shape.conv(i).adjoint_weights(&wide.kernels[i]));
        let (mut z, mut pulled, mut next): (Vec<D>, Vec<D>, Vec<D>) = Default::default();
        let mut slopes: [Vec<D>; 3] = Default::default();
        for ((x, c), out) in x.chunks_exact(len).zip(cotangent.chunks_exact(len)).zip(out.chunks_exact_mut(len)) {
            z.clear();
            z.extend_from_slice(x.as_chunks().0);
            for i in 0..3 {
                self.prepare(i, &mut z, Some(&mut slopes[i]));
                if i < 2 {
                    self.convolve(i, &wide.kernels[i], &wide.biases[i], &mut z, &mut next);
                }
            }
            pulled.clear();
            pulled.extend_from_slice(c.as_chunks().0);
            for i in (0..3).rev() {
                let adjoint = self.shape.conv(i).adjoint();
                next.resize(adjoint.out_channels * self.shape.area(), Default::default());
                let unbiased = vec![0.0; adjoint.out_channels];
                convolve(Level::current(), &pulled, &adjoints[i], &unbiased, &adjoint, &mut next);
                std::mem::swap(&mut pulled, &mut next);
                multiply(&mut pulled, &slopes[i]);
            }
            self.scale_to(&pulled, out);
        }
    }

    /// Values of a pack, of which `lens` must be equal multiples.
    fn pack_len(&self, lens: &[usize]) -> usize {
        let len = self.shape.image.pack_len();
        let whole = lens.iter().all(|l| *l == lens[0] && l.is_multiple_of(len));
        assert!(whole, "packs of {len} values in and out, not {lens:?}");
        len
    }

    fn widened(&self) -> Wide {
        let places = self.shape.places();
        let of = |place: usize| self.weights[places[place].clone()].iter().map(|w| f64::from(*w)).collect();
        Wide { kernels: [0, 2, 4].map(of), biases: [1, 3, 5].map(of) }
    }

    /// Replaces `z` by what convolution `i` reads of it, and `slopes` by the derivatives.
    fn prepare(&self, i: usize, z: &mut [D], mut slopes: Option<&mut Vec<D>>) {
        if let Some(slopes) = &mut slopes {
            slopes.clear();
            slopes.resize(z.len(), [1.0; _]);
        }
        if i == 0 && !self.shape.activate_input {
            return;
        }
        let (activation, area) = (self.shape.activation, self.shape.area());
        for (c, channel) in z.chunks_exact_mut(area).enumerate() {
            let (scale, shift) = self.affine.as_ref().map_or((1.0, 0.0), |maps| (maps[i].0[c], maps[i].1[c]));
            let (scale, shift) = (f64::from(scale), f64::from(shift));
            if let Some(slopes) = &mut slopes {
                for (slope, z) in slopes[c * area..].iter_mut().flatten().zip(channel.iter().flatten()) {
                    *slope = scale * derivative(activation, scale * *z + shift);
                }
            }
            for z in channel.iter_mut().flatten() {
                *z = activate(activation, scale * *z + shift);
            }
        }
    }

    /// Replaces `z` by what convolution `i` makes of it; `next` is working space.
    fn convolve(&self, i: usize, kernel: &[f64], bias: &[f64], z: &mut Vec<D>, next: &mut Vec<D>) {
        let conv = self.shape.conv(i);
        next.resize(conv.out_channels * self.shape.area(), Default::default());
        convolve(Level::current(), z, kernel, bias, &conv, next);
        std::mem::swap(z, next);
    }

    /// `out = h g`
    fn scale_to(&self, g: &[D], out: &mut [f64]) {
        let step = f64::from(self.shape.step);
        out.iter_mut().zip(g.as_flattened()).for_each(|(out, g)| *out = step * g);
    }
}

/// `to <- to . by`, value by value.
fn multiply(to: &mut [D], by: &[D]) {
    to.as_flattened_mut().iter_mut().zip(by.as_flattened()).for_each(|(to, by)| *to *= by);
}
