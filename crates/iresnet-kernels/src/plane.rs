//! Buffers with a zero border, so that no loop of a convolution knows about edges.

use crate::lane::{LANES, V};
use crate::shape::ConvShape;

/// Geometry of a bordered buffer `[channel][y + 2 border][x + 2 border]` of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plane {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub border: usize,
}

impl Plane {
    /// The buffer that a convolution reads.
    pub(crate) fn of(shape: &ConvShape) -> Self {
        let ConvShape { in_channels: channels, height, width, kernel, .. } = *shape;
        Plane { channels, height, width, border: kernel / 2 }
    }

    pub(crate) fn row_stride(&self) -> usize {
        self.width + 2 * self.border
    }

    pub(crate) fn channel_stride(&self) -> usize {
        self.row_stride() * (self.height + 2 * self.border)
    }

    pub(crate) fn len(&self) -> usize {
        self.channels * self.channel_stride()
    }

    /// Where row `y` of channel `c` begins: its first inner value here, and in an unbordered buffer.
    #[inline(always)]
    pub(crate) fn rows(&self, c: usize, y: usize) -> (usize, usize) {
        (self.row(c, y), (c * self.height + y) * self.width)
    }

    /// Place of the first inner value of row `y` of channel `c`.
    #[inline(always)]
    pub(crate) fn row(&self, c: usize, y: usize) -> usize {
        c * self.channel_stride() + (y + self.border) * self.row_stride() + self.border
    }
}

/// Zeroes the border of a bordered buffer.
#[inline(always)]
pub(crate) fn clear_border(plane: Plane, buffer: &mut [V]) {
    let (b, stride) = (plane.border, plane.row_stride());
    if b == 0 {
        return;
    }
    for channel in buffer.chunks_exact_mut(plane.channel_stride()) {
        channel[..b * stride].fill([0.0; LANES]);
        channel[(b + plane.height) * stride..].fill([0.0; LANES]);
        for row in channel.chunks_exact_mut(stride) {
            row[..b].fill([0.0; LANES]);
            row[b + plane.width..].fill([0.0; LANES]);
        }
    }
}
