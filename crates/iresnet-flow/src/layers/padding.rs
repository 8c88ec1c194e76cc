//! Injective padding: zero channels join an image's own, so that a network of few channels gets room (section 4 of the
//! paper). Its inverse drops them and says how far from zero they were.

use crate::batch::Batch;
use crate::bijection::Injection;
use crate::{ImageShape, LANES, Scalar};

/// Zero channels behind those of images of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InjectivePadding {
    image: ImageShape,
    channels: usize,
}

impl InjectivePadding {
    /// From images of shape `image` to as many pixels of `channels` channels.
    ///
    /// # Panics
    /// If `channels` is below the image's own.
    pub fn new(image: ImageShape, channels: usize) -> Self {
        assert!(channels >= image.channels, "{channels} channels do not hold the {} of an image", image.channels);
        InjectivePadding { image, channels }
    }

    fn padded(&self) -> ImageShape {
        ImageShape { channels: self.channels, ..self.image }
    }
}

impl<T: Scalar> Injection<T> for InjectivePadding {
    fn input(&self) -> ImageShape {
        self.image
    }

    fn output(&self) -> ImageShape {
        self.padded()
    }

    fn forward(&self, x: Batch<T>) -> Batch<T> {
        let mut y = Batch::zeros(self.padded(), x.samples());
        let (from, to) = (self.image.pack_len(), self.padded().pack_len());
        for (x, y) in x.packs().chunks_exact(from).zip(y.packs_mut().chunks_exact_mut(to)) {
            y[..from].copy_from_slice(x);
        }
        y
    }

    fn inverse(&self, y: Batch<T>) -> (Batch<T>, Vec<f64>) {
        let mut x = Batch::zeros(self.image, y.samples());
        let (kept, all) = (self.image.pack_len(), self.padded().pack_len());
        let mut residuals = Vec::with_capacity(y.samples().next_multiple_of(LANES));
        for (x, y) in x.packs_mut().chunks_exact_mut(kept).zip(y.packs().chunks_exact(all)) {
            x.copy_from_slice(&y[..kept]);
            residuals.extend(crate::batch::lengths(&y[kept..]));
        }
        residuals.truncate(y.samples());
        (x, residuals)
    }
}
