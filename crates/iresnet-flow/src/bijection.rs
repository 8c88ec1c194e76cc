//! What every invertible map can do.
//!
//! A [`Bijection`] keeps both directions, its Jacobian and its Lipschitz bounds in one file; [`crate::Chain`] composes
//! them. An [`Injection`] maps into a larger space and knows how far a point is from its image. The number format is the
//! parameter `T`, so float32 and float64 passes are the same code.

use crate::batch::Batch;
use crate::log_det;
use crate::solve::{Contradiction, SampleReport, SolveBy};
use crate::{ImageShape, Scalar};

/// An invertible map `F` of samples of one shape to samples of as many values.
pub trait Bijection<T: Scalar>: Send + Sync {
    /// Shape of `x`.
    fn input(&self) -> ImageShape;

    /// Shape of `F(x)`.
    fn output(&self) -> ImageShape;

    /// `F(x)` of each sample. Samples must not influence each other.
    fn forward(&self, x: Batch<T>) -> Batch<T>;

    /// `F^-1(y)` of each sample, by a closed form or by the solver.
    ///
    /// # Errors
    /// Steps that contradict a certified Lipschitz constant. A solve that does not converge is no error but part of the
    /// reports.
    fn inverse(&self, y: Batch<T>, by: SolveBy<'_, T>) -> Result<Preimage<T>, Contradiction>;

    /// `J_F(x) v` of each sample.
    fn jvp(&self, x: &Batch<T>, v: &Batch<T>) -> Batch<T>;

    /// `J_F(x)^T w` of each sample.
    fn vjp(&self, x: &Batch<T>, w: &Batch<T>) -> Batch<T>;

    /// `ln |det J_F(x)|` of each sample, exact to rounding: without a closed form, from the whole Jacobian, which takes
    /// as many products as a sample has values, and an LU decomposition in float64.
    fn log_det(&self, x: &Batch<T>) -> Vec<f64> {
        log_det::exact(self, x)
    }

    /// What is known of the Lipschitz constants of both directions.
    fn bounds(&self) -> Bounds;
}

/// Upper bounds of Lipschitz constants, where they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Of `F`.
    pub forward: Option<f64>,
    /// Of `F^-1`.
    pub inverse: Option<f64>,
}

impl Bounds {
    /// Of an isometry.
    pub const ISOMETRY: Bounds = Bounds { forward: Some(1.0), inverse: Some(1.0) };

    /// Of `second` after `first`, rounded outwards.
    pub fn then(self, second: Bounds) -> Bounds {
        let times = |a: Option<f64>, b: Option<f64>| match (a?, b?) {
            (a, b) if a == 1.0 || b == 1.0 => Some(a * b),
            (a, b) => Some((a * b).next_up()),
        };
        Bounds { forward: times(self.forward, second.forward), inverse: times(self.inverse, second.inverse) }
    }

    /// Of the inverse map.
    pub fn swapped(self) -> Bounds {
        Bounds { forward: self.inverse, inverse: self.forward }
    }
}

/// Preimages and what is known of them.
#[derive(Clone, Debug)]
pub struct Preimage<T> {
    /// One a sample.
    pub x: Batch<T>,
    /// Of each layer that was solved, in the order of the inverse: a report a sample.
    pub solves: Vec<Vec<SampleReport>>,
    /// For each sample a bound on the distance from its true preimage, up to an estimate of round-off; where every layer
    /// has a Lipschitz bound that makes it invertible.
    pub error_bars: Vec<Option<f64>>,
}

impl<T: Scalar> Preimage<T> {
    /// Of a closed form, whose rounding is some units in the last place of the result.
    pub(crate) fn exact(x: Batch<T>) -> Self {
        let error_bars = x.lengths().into_iter().map(|size| Some(4.0 * T::EPSILON * size)).collect();
        Preimage { x, solves: Vec::new(), error_bars }
    }
}

/// A map into a space of more values, invertible on its image.
pub trait Injection<T: Scalar>: Send + Sync {
    /// Shape of `x`.
    fn input(&self) -> ImageShape;

    /// Shape of the result, at least as large.
    fn output(&self) -> ImageShape;

    /// The image of each sample.
    fn forward(&self, x: Batch<T>) -> Batch<T>;

    /// The closest preimage of each sample, and how far the sample is from the image: zero for an exact inverse.
    fn inverse(&self, y: Batch<T>) -> (Batch<T>, Vec<f64>);
}

impl<T: Scalar, B: Bijection<T> + ?Sized> Bijection<T> for Box<B> {
    fn input(&self) -> ImageShape {
        (**self).input()
    }

    fn output(&self) -> ImageShape {
        (**self).output()
    }

    fn forward(&self, x: Batch<T>) -> Batch<T> {
        (**self).forward(x)
    }

    fn inverse(&self, y: Batch<T>, by: SolveBy<'_, T>) -> Result<Preimage<T>, Contradiction> {
        (**self).inverse(y, by)
    }

    fn jvp(&self, x: &Batch<T>, v: &Batch<T>) -> Batch<T> {
        (**self).jvp(x, v)
    }

    fn vjp(&self, x: &Batch<T>, w: &Batch<T>) -> Batch<T> {
        (**self).vjp(x, w)
    }

    fn log_det(&self, x: &Batch<T>) -> Vec<f64> {
        (**self).log_det(x)
    }

    fn bounds(&self) -> Bounds {
        (**self).bounds()
    }
}
