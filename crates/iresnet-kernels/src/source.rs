//! What a convolution reads: values of the layer before, seen through an affine map, the activation and dropout.

use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::conv::Plane;
use crate::simd::Simd;
use crate::{LANES, V};

/// Dropout on the input of the last convolution.
#[derive(Clone, Copy, Debug)]
pub struct DropoutMask<'a> {
    /// `[pack][channel][y][x]`; bit l keeps lane l.
    pub bits: &'a [u16],
    /// What kept values are multiplied by.
    pub scale: f32,
}

impl<'a> DropoutMask<'a> {
    /// The part of pack number `pack`, of `len` values a lane.
    pub fn of_pack(&self, pack: usize, len: usize) -> DropoutMask<'a> {
        DropoutMask { bits: &self.bits[pack * len..(pack + 1) * len], scale: self.scale }
    }
}

/// What stands before a convolution: an affine map per channel, if there is one, then κ; or nothing at all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before<'a> {
    pub activation: Option<Activation>,
    /// Scales and shifts.
    pub affine: Option<(&'a [f32], &'a [f32])>,
}

impl Before<'_> {
    /// What κ is applied to.
    #[inline(always)]
    fn argument<S: Simd>(&self, channel: usize, z: S) -> S {
        match self.affine {
            Some((scale, shift)) => z.mul_add(S::splat(scale[channel]), S::splat(shift[channel])),
            None => z,
        }
    }

    #[inline(always)]
    fn apply<S: Simd>(&self, channel: usize, z: S) -> S {
        match self.activation {
            Some(activation) => activation.apply(self.argument(channel, z)),
            None => z,
        }
    }

    /// `κ'` at what it is applied to.
    #[inline(always)]
    pub(crate) fn slope<S: Simd>(&self, channel: usize, z: S) -> S {
        match self.activation {
            Some(activation) => activation.derivative(self.argument(channel, z)),
            None => S::splat(1.0),
        }
    }

    /// Derivative of the whole.
    #[inline(always)]
    pub(crate) fn derivative<S: Simd>(&self, channel: usize, z: S) -> S {
        match (self.activation, self.affine) {
            (Some(_), Some((scale, _))) => self.slope(channel, z).mul(S::splat(scale[channel])),
            _ => self.slope(channel, z),
        }
    }
}

/// The input of a convolution, unbordered `[channel][y][x]`: `mask . b(z)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub z: &'a [V],
    pub before: Before<'a>,
    pub mask: Option<DropoutMask<'a>>,
}

/// Loops that load a source are compiled for the two kinds that matter and for all the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Relu,
    Any,
}

impl<'a> Source<'a> {
    /// `z` itself.
    pub(crate) fn plain(z: &'a [V]) -> Self {
        Source { z, before: Before::default(), mask: None }
    }

    pub(crate) fn kind(&self) -> Kind {
        match (self.before.activation, self.before.affine, self.mask) {
            (None, None, None) => Kind::Plain,
            (Some(Activation::Relu), None, None) => Kind::Relu,
            _ => Kind::Any,
        }
    }

    #[inline(always)]
    pub(crate) fn value<S: Simd>(&self, channel: usize, at: usize) -> S {
        let value = self.before.apply(channel, S::load(&self.z[at]));
        match self.mask {
            Some(mask) => value.keep(mask.bits[at]).mul(S::splat(mask.scale)),
            None => value,
        }
    }

    /// `mask . b'(z) . v`
    #[inline(always)]
    pub(crate) fn pull<S: Simd>(&self, channel: usize, at: usize, v: S) -> S {
        let v = v.mul(self.before.derivative(channel, S::load(&self.z[at])));
        match self.mask {
            Some(mask) => v.keep(mask.bits[at]).mul(S::splat(mask.scale)),
            None => v,
        }
    }

    /// This source, or a plain one with its values in `buffer` where computing a value costs more than loading it:
    /// Winograd's patches overlap, so that they would be computed more than twice.
    #[inline(always)]
    pub(crate) fn settled<'b, S: Simd>(self, channels: usize, buffer: &'b mut Buffer) -> Source<'b>
    where
        'a: 'b,
    {
        if self.kind() != Kind::Any {
            return self;
        }
        let buffer = buffer.sized(self.z.len());
        let area = self.z.len() / channels;
        for c in 0..channels {
            for at in c * area..(c + 1) * area {
                self.value::<S>(c, at).store(&mut buffer[at]);
            }
        }
        Source::plain(buffer)
    }

    /// Fills a bordered buffer, border included.
    #[inline(always)]
    pub(crate) fn fill<S: Simd>(&self, plane: Plane, out: &mut [V]) {
        clear_border(plane, out);
        let kind = self.kind();
        for c in 0..plane.channels {
            for y in 0..plane.height {
                let (row, at) = plane.rows(c, y);
                let (to, from) = (&mut out[row..row + plane.width], &self.z[at..at + plane.width]);
                match kind {
                    Kind::Plain => to.copy_from_slice(from),
                    Kind::Relu => {
                        for (to, from) in to.iter_mut().zip(from) {
                            S::load(from).relu().store(to);
                        }
                    }
                    Kind::Any => {
                        for (x, to) in to.iter_mut().enumerate() {
                            self.value::<S>(c, at + x).store(to);
                        }
                    }
                }
            }
        }
    }
}

/// Zeroes the border of a bordered buffer.
#[inline(always)]
fn clear_border(plane: Plane, buffer: &mut [V]) {
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
