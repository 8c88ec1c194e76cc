//! Activation normalisation: a scale and a shift of every channel that the first batch chooses, so that what leaves has
//! mean 0 and variance 1 then, and that are trained afterwards (Kingma and Dhariwal 2018, section 3.1).
//!
//! `y = exp(l_c) x + b_c`, so `ln |det| = H W sum_c l_c`, `Lip(F) = max exp(l_c)` and `Lip(F^-1) = max exp(-l_c)`. Unlike a
//! BatchNorm it treats every sample alike, so a network with it keeps its inverse and its certificate.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::autodiff::{Inner, Pool, Recovered, Step, TrainedLayer};
use crate::batch::{Batch, UP};
use crate::bijection::{Bijection, Bounds, Preimage};
use crate::proof::Layer;
use crate::solve::{Contradiction, SolveBy};
use crate::{ImageShape, LANES, Purpose, Scalar};

/// A scale and a shift for every channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ActNorm {
    shape: ImageShape,
    /// `l_c`, then `b_c`.
    parameters: Vec<f32>,
    initialised: bool,
}

/// A channel whose values differ by less than this is taken for one of a single value, such as one of padding, and stays
/// as it is: its scale could only be a huge one.
const SMALLEST_DEVIATION: f64 = 1e-6;

impl ActNorm {
    /// The identity, which waits for its first batch.
    pub fn new(shape: ImageShape) -> Self {
        ActNorm { shape, parameters: vec![0.0; 2 * shape.channels], initialised: false }
    }

    /// From saved values: `[log-scales, shifts]`, one a channel each, and whether a batch has chosen them. An initialised
    /// layer is never initialised again.
    ///
    /// # Panics
    /// If there are not two values a channel.
    pub fn from_parameters(shape: ImageShape, parameters: Vec<f32>, initialised: bool) -> Self {
        assert_eq!(parameters.len(), 2 * shape.channels, "a log-scale and a shift for each of {shape:?}'s channels");
        ActNorm { shape, parameters, initialised }
    }

    /// Log-scales, then shifts.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Whether a batch has chosen the parameters.
    pub fn is_initialised(&self) -> bool {
        self.initialised
    }

    /// Chooses the parameters from a first batch: every channel of `F(x)` has mean 0 and variance 1, but those whose values
    /// are all equal stay as they are. An initialised layer stays as it is. Mean and variance are summed in float64, in one
    /// order.
    pub fn initialise(&mut self, x: &Batch<f32>) {
        if std::mem::replace(&mut self.initialised, true) {
            return;
        }
        let (channels, count) = (self.shape.channels, (x.samples() * self.area()) as f64);
        let (mut sums, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
        for (p, pack) in x.packs().chunks_exact(self.shape.pack_len()).enumerate() {
            let lanes = (x.samples() - p * LANES).min(LANES);
            for (i, vector) in pack.as_chunks::<LANES>().0.iter().enumerate() {
                for value in vector[..lanes].iter().copied().map(f64::from) {
                    sums[i / self.area()] += value;
                    squares[i / self.area()] += value * value;
                }
            }
        }
        for (c, (sum, square)) in sums.into_iter().zip(squares).enumerate() {
            let mean = sum / count;
            let deviation = (square / count - mean * mean).max(0.0).sqrt();
            if deviation < SMALLEST_DEVIATION {
                continue;
            }
            self.parameters[c] = -deviation.ln() as f32;
            self.parameters[channels + c] = (-mean / deviation) as f32;
        }
    }

    fn area(&self) -> usize {
        self.shape.height * self.shape.width
    }

    /// `exp(l_c)` and `b_c`.
    fn affine<T: Scalar>(&self) -> Vec<(T, T)> {
        let (scales, shifts) = self.parameters.split_at(self.shape.channels);
        let of_channel = |(l, b): (&f32, &f32)| (T::from_f64(f64::from(*l).exp()), T::from_f64(f64::from(*b)));
        scales.iter().zip(shifts).map(of_channel).collect()
    }

    /// Changes the values of every channel by its own map.
    fn each_channel<T: Scalar>(&self, packs: &mut [T], change: impl Fn(T, (T, T)) -> T + Sync) {
        let affine = self.affine();
        let channels = packs.par_chunks_mut(self.area() * LANES).enumerate();
        channels.for_each(|(c, values)| {
            let map = affine[c % affine.len()];
            values.iter_mut().for_each(|value| *value = change(*value, map));
        });
    }

    fn changed<T: Scalar>(&self, mut x: Batch<T>, change: impl Fn(T, (T, T)) -> T + Sync) -> Batch<T> {
        self.each_channel(x.packs_mut(), change);
        x
    }

    fn extremes(&self) -> (f64, f64) {
        let scales = self.parameters[..self.shape.channels].iter().map(|l| f64::from(*l).exp());
        scales.fold((f64::INFINITY, 0.0), |(low, high), scale| (low.min(scale), high.max(scale)))
    }
}

impl<T: Scalar> Bijection<T> for ActNorm {
    fn input(&self) -> ImageShape {
        self.shape
    }

    fn output(&self) -> ImageShape {
        self.shape
    }

    fn forward(&self, x: Batch<T>) -> Batch<T> {
        self.changed(x, |x, (scale, shift)| scale * x + shift)
    }

    fn inverse(&self, y: Batch<T>, _by: SolveBy<'_, T>) -> Result<Preimage<T>, Contradiction> {
        let sizes = y.lengths();
        let x = self.changed(y, |y, (scale, shift)| (y - shift) / scale);
        let (smallest, _) = self.extremes();
        let mut preimage = Preimage::exact(x);
        // Subtracting the shift rounds at the size of y.
        for (bar, size) in preimage.error_bars.iter_mut().zip(sizes) {
            *bar = bar.map(|bar| bar + 4.0 * T::EPSILON * size / smallest);
        }
        Ok(preimage)
    }

    fn jvp(&self, _x: &Batch<T>, v: &Batch<T>) -> Batch<T> {
        self.changed(v.clone(), |v, (scale, _)| scale * v)
    }

    fn vjp(&self, _x: &Batch<T>, w: &Batch<T>) -> Batch<T> {
        self.changed(w.clone(), |w, (scale, _)| scale * w)
    }

    fn log_det(&self, x: &Batch<T>) -> Vec<f64> {
        let sum: f64 = self.parameters[..self.shape.channels].iter().map(|l| f64::from(*l)).sum();
        vec![self.area() as f64 * sum; x.samples()]
    }

    fn bounds(&self) -> Bounds {
        // Four units in the last place cover the exponential.
        let (smallest, largest) = self.extremes();
        let usual = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
        if !(self.parameters.iter().all(|p| p.is_finite()) && usual.contains(&smallest) && usual.contains(&largest)) {
            return Bounds { forward: None, inverse: None };
        }
        let up = 1.0 + 4.0 * f64::EPSILON.max(T::EPSILON);
        Bounds { forward: Some(largest * up), inverse: Some(up / smallest) }
    }
}

impl Layer for ActNorm {
    fn forward_enclosed(&self, x: Batch<f64>, errors: &mut [f64]) -> Batch<f64> {
        let largest = self.extremes().1;
        let shifts = &self.parameters[self.shape.channels..];
        let shift = (self.area() as f64 * shifts.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>()).sqrt();
        for (error, size) in errors.iter_mut().zip(x.lengths()) {
            *error = (largest * *error + 8.0 * f64::EPSILON * (largest * size + shift)) * UP;
        }
        Bijection::<f64>::forward(self, x)
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn hash(&self, hash: &mut Sha256) {
        self.parameters.iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
}

impl TrainedLayer for ActNorm {
    fn input(&self) -> ImageShape {
        self.shape
    }

    fn output(&self) -> ImageShape {
        self.shape
    }

    fn num_parameters(&self) -> usize {
        self.parameters.len()
    }

    fn prepare(&self, _samples: usize, _purpose: Purpose) -> Box<dyn Step + '_> {
        Box::new(self)
    }
}

impl Step for &ActNorm {
    fn forward(&self, x: &[f32], _keep_inner: bool, pool: &Pool) -> (Vec<f32>, Inner) {
        let mut y = pool.take(x.len());
        y.copy_from_slice(x);
        self.each_channel(&mut y, |x, (scale, shift)| scale * x + shift);
        (y, Inner::Nothing)
    }

    fn recover(&self, y: &[f32], pool: &Pool) -> Option<Recovered> {
        let mut input = pool.take(y.len());
        input.copy_from_slice(y);
        self.each_channel(&mut input, |y, (scale, shift)| (y - shift) / scale);
        Some(Recovered { input, inner: Inner::Nothing, evaluations: 0 })
    }

    /// `dl_c = sum dy exp(l_c) x`, `db_c = sum dy`; sums over a pack in float64, packs in their order.
    fn backward(&self, x: &[f32], _inner: Inner, gradient: &mut Vec<f32>, parameters: &mut [f32], _pool: &Pool) {
        let affine = self.affine::<f32>();
        let (channels, part) = (affine.len(), self.area() * LANES);
        let (mut scales, mut shifts) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        let of_parts: Vec<(f64, f64)> = gradient
            .par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .enumerate()
            .map(|(i, (gradient, x))| {
                let (scale, _) = affine[i % channels];
                let (mut of_scale, mut of_shift) = (0.0, 0.0);
                for (dy, x) in gradient.iter_mut().zip(x) {
                    of_shift += f64::from(*dy);
                    *dy *= scale;
                    of_scale += f64::from(*dy) * f64::from(*x);
                }
                (of_scale, of_shift)
            })
            .collect();
        for (i, (scale, shift)) in of_parts.into_iter().enumerate() {
            scales[i % channels] += scale;
            shifts[i % channels] += shift;
        }
        for (to, from) in parameters.iter_mut().zip(scales.into_iter().chain(shifts)) {
            *to += from as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_batch_and_no_other_chooses() {
        let shape = ImageShape { channels: 2, height: 2, width: 3 };
        let values: Vec<f32> = (0..20 * 12).map(|i| ((i * 7919) % 1013) as f32 / 100.0 - 3.0).collect();
        let x = Batch::pack(&values, shape);
        let mut layer = ActNorm::new(shape);
        layer.initialise(&x);
        let y = Bijection::<f32>::forward(&layer, x.clone()).unpack();
        for c in 0..2 {
            let of_channel = || y.chunks_exact(6).skip(c).step_by(2).flatten().map(|v| f64::from(*v));
            let mean = of_channel().sum::<f64>() / 120.0;
            let var = of_channel().map(|v| v * v).sum::<f64>() / 120.0;
            // float32 parameters.
            assert!(mean.abs() < 1e-6 && (var - 1.0).abs() < 1e-6, "{mean} {var}");
        }
        let before = layer.clone();
        layer.initialise(&Batch::pack(&values[..120], shape));
        assert_eq!(layer, before);
        let saved = ActNorm::from_parameters(shape, layer.parameters().to_vec(), layer.is_initialised());
        assert_eq!(saved, layer);
    }

    /// Such layers have no inverse that float32 could show, and some none at all.
    #[test]
    fn scales_that_are_zero_infinite_or_no_number_prove_nothing() {
        let shape = ImageShape { channels: 2, height: 2, width: 2 };
        for (value, place) in
            [(f32::NAN, 0), (-800.0, 1), (800.0, 0), (100.0, 1), (-90.0, 0), (f32::INFINITY, 3), (f32::NAN, 2)]
        {
            let mut parameters = vec![0.5; 4];
            let certified = |parameters: &[f32]| {
                let layer: Box<dyn Layer> = Box::new(ActNorm::from_parameters(shape, parameters.to_vec(), true));
                let (certificate, _) = crate::proof::examine(&crate::Chain::new::<f64>(vec![layer]), shape, 0.0, None);
                (certificate.certified, certificate.reasons.clone())
            };
            assert!(certified(&parameters).0);
            parameters[place] = value;
            let (proved, reasons) = certified(&parameters);
            assert!(!proved, "{value} at {place}");
            assert_eq!(reasons, ["layer 1 has no finite Lipschitz bound both ways"]);
        }
    }
}
