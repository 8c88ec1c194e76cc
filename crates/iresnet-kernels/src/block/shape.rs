//! Geometry of a block.

use std::ops::Range;

use crate::activation::Activation;
use crate::lane::LANES;
use crate::shape::{ConvShape, ImageShape};

/// Geometry of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockShape {
    /// Its images.
    pub image: ImageShape,
    /// Channels between the convolutions.
    pub bottleneck: usize,
    /// Sides of the three kernels, odd.
    pub kernels: [usize; 3],
    /// κ.
    pub activation: Activation,
    /// Whether κ (and the first affine map) stands before the first convolution.
    pub activate_input: bool,
    /// h.
    pub step: f32,
}

impl BlockShape {
    /// The paper's block: kernels 3, 1, 3, ReLU before each, step 1.
    pub fn paper(image: ImageShape, bottleneck: usize) -> Self {
        let (kernels, activation) = ([3, 1, 3], Activation::Relu);
        BlockShape { image, bottleneck, kernels, activation, activate_input: true, step: 1.0 }
    }

    /// Input and output channels of the three convolutions.
    pub fn channels(&self) -> [(usize, usize); 3] {
        let (c, m) = (self.image.channels, self.bottleneck);
        [(c, m), (m, m), (m, c)]
    }

    /// Places of `w1, b1, w2, b2, w3, b3` in the flat weights.
    pub fn places(&self) -> [Range<usize>; 6] {
        let mut start = 0;
        let mut place = |len: usize| {
            start += len;
            start - len..start
        };
        let [a, b, c] = [0, 1, 2].map(|i| {
            let (cin, cout) = self.channels()[i];
            [place(cin * cout * self.kernels[i] * self.kernels[i]), place(cout)]
        });
        let ([a0, a1], [b0, b1], [c0, c1]) = (a, b, c);
        [a0, a1, b0, b1, c0, c1]
    }

    /// Number of weights and biases.
    pub fn num_weights(&self) -> usize {
        self.places()[5].end
    }

    /// Geometry of convolution `i`.
    pub(crate) fn conv(&self, i: usize) -> ConvShape {
        let (in_channels, out_channels) = self.channels()[i];
        let ImageShape { height, width, .. } = self.image;
        ConvShape { in_channels, out_channels, kernel: self.kernels[i], height, width }
    }

    /// Positions of an image.
    pub(crate) fn area(&self) -> usize {
        self.image.height * self.image.width
    }

    /// Values an image of the output of one of the first two convolutions, which is also what dropout masks.
    pub fn middle(&self) -> usize {
        self.bottleneck * self.area()
    }

    /// Values a pack that a backward pass wants kept: the outputs of the first two convolutions.
    pub fn hidden_len(&self) -> usize {
        2 * self.middle() * LANES
    }
}
