//! Sizes of images and of convolutions.

use crate::lane::LANES;

/// Channels and size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Channels.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

impl ImageShape {
    /// Values of one image.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Values of one pack.
    pub fn pack_len(&self) -> usize {
        self.len() * LANES
    }
}

/// Geometry of a convolution, stride 1 and zero 'same' padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Height of the images.
    pub height: usize,
    /// Width of the images.
    pub width: usize,
}

impl ConvShape {
    /// Height, width and kernel of the operator: 1x1 kernels act as a matrix on single pixels.
    pub(crate) fn extent(&self) -> (usize, usize) {
        if self.kernel == 1 { (1, 1) } else { (self.height, self.width) }
    }

    /// The adjoint convolution: channels exchanged.
    pub(crate) fn adjoint(&self) -> ConvShape {
        ConvShape { in_channels: self.out_channels, out_channels: self.in_channels, ..*self }
    }

    /// Its weights: channels exchanged and taps reversed, `[out, in, k, k]` to `[in, out, k, k]`.
    pub(crate) fn adjoint_weights<T: Copy + Default>(&self, weights: &[T]) -> Vec<T> {
        let taps = self.kernel * self.kernel;
        let mut flipped = vec![T::default(); weights.len()];
        for o in 0..self.out_channels {
            for i in 0..self.in_channels {
                for tap in 0..taps {
                    flipped[(i * self.out_channels + o) * taps + taps - 1 - tap] =
                        weights[(o * self.in_channels + i) * taps + tap];
                }
            }
        }
        flipped
    }

    /// Length of `u`: `out * height * width`, or `out` for 1x1 kernels.
    pub fn left_len(&self) -> usize {
        let (h, w) = self.extent();
        self.out_channels * h * w
    }

    /// Length of `v`: `in * height * width`, or `in` for 1x1 kernels.
    pub fn right_len(&self) -> usize {
        let (h, w) = self.extent();
        self.in_channels * h * w
    }
}
