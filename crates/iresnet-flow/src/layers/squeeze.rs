//! Invertible downsampling: 2x2 space to depth, `[C, H, W]` to `[4C, H/2, W/2]`, in the channel order of PyTorch's
//! `pixel_unshuffle` (section 2 of the paper; Jacobsen et al. 2018). It permutes values, so both directions are isometries.

use crate::autodiff::{Inner, Pool, Recovered, Step, TrainedLayer};
use crate::batch::Batch;
use crate::bijection::{Bijection, Bounds, Preimage};
use crate::proof::Layer;
use crate::solve::{Contradiction, SolveBy};
use crate::{ImageShape, Purpose, Scalar};

/// The downsampling of images of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Squeeze {
    large: ImageShape,
}

impl Squeeze {
    /// The downsampling of images of shape `large`.
    ///
    /// # Panics
    /// If height or width is odd.
    pub fn new(large: ImageShape) -> Self {
        let even = large.height.is_multiple_of(2) && large.width.is_multiple_of(2);
        assert!(even, "2x2 blocks need even sizes, not {large:?}");
        Squeeze { large }
    }

    fn small(&self) -> ImageShape {
        let ImageShape { channels, height, width } = self.large;
        ImageShape { channels: 4 * channels, height: height / 2, width: width / 2 }
    }

    fn down<T: Scalar>(&self, packs: &[T], out: &mut [T]) {
        iresnet_kernels::pixel_unshuffle(packs, self.large, out);
    }

    fn up<T: Scalar>(&self, packs: &[T], out: &mut [T]) {
        iresnet_kernels::pixel_shuffle(packs, self.large, out);
    }

    fn down_batch<T: Scalar>(&self, x: &Batch<T>) -> Batch<T> {
        let mut y = Batch::zeros(self.small(), x.samples());
        self.down(x.packs(), y.packs_mut());
        y
    }

    fn up_batch<T: Scalar>(&self, y: &Batch<T>) -> Batch<T> {
        let mut x = Batch::zeros(self.large, y.samples());
        self.up(y.packs(), x.packs_mut());
        x
    }
}

impl<T: Scalar> Bijection<T> for Squeeze {
    fn input(&self) -> ImageShape {
        self.large
    }

    fn output(&self) -> ImageShape {
        self.small()
    }

    fn forward(&self, x: Batch<T>) -> Batch<T> {
        self.down_batch(&x)
    }

    fn inverse(&self, y: Batch<T>, _by: SolveBy<'_, T>) -> Result<Preimage<T>, Contradiction> {
        let error_bars = vec![Some(0.0); y.samples()];
        Ok(Preimage { x: self.up_batch(&y), solves: Vec::new(), error_bars })
    }

    fn jvp(&self, _x: &Batch<T>, v: &Batch<T>) -> Batch<T> {
        self.down_batch(v)
    }

    fn vjp(&self, _x: &Batch<T>, w: &Batch<T>) -> Batch<T> {
        self.up_batch(w)
    }

    fn log_det(&self, x: &Batch<T>) -> Vec<f64> {
        vec![0.0; x.samples()]
    }

    fn bounds(&self) -> Bounds {
        Bounds::ISOMETRY
    }
}

impl Layer for Squeeze {
    fn forward_enclosed(&self, x: Batch<f64>, _errors: &mut [f64]) -> Batch<f64> {
        self.down_batch(&x)
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(*self)
    }
}

impl TrainedLayer for Squeeze {
    fn input(&self) -> ImageShape {
        self.large
    }

    fn output(&self) -> ImageShape {
        self.small()
    }

    fn prepare(&self, _samples: usize, _purpose: Purpose) -> Box<dyn Step + '_> {
        Box::new(self)
    }
}

impl Step for &Squeeze {
    fn forward(&self, x: &[f32], _keep_inner: bool, pool: &Pool) -> (Vec<f32>, Inner) {
        let mut y = pool.take(x.len());
        self.down(x, &mut y);
        (y, Inner::Nothing)
    }

    fn recover(&self, y: &[f32], pool: &Pool) -> Option<Recovered> {
        let mut input = pool.take(y.len());
        self.up(y, &mut input);
        Some(Recovered { input, inner: Inner::Nothing, evaluations: 0 })
    }

    fn backward(&self, _x: &[f32], _inner: Inner, gradient: &mut Vec<f32>, _parameters: &mut [f32], pool: &Pool) {
        let mut large = pool.take(gradient.len());
        self.up(gradient, &mut large);
        pool.give(std::mem::replace(gradient, large));
    }
}
