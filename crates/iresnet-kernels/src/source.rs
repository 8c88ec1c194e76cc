//! What a convolution reads: values of the layer before, seen through an affine map, the activation and dropout.

use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::dropout::DropoutMask;
use crate::lane::V;
use crate::plane::{Plane, clear_border};
use crate::simd::Simd;

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
