//! What becomes of a convolution's values: a pass is fused into the convolution that ends it.

use crate::lane::V;
use crate::simd::Simd;
use crate::source::Source;

/// What happens to the values of a convolution; all places are unbordered `[channel][y][x]`.
pub(crate) enum Output<'a> {
    /// They are stored.
    Store(&'a mut [V]),
    /// `to <- from + step value`, or `to <- to + step value`.
    Add { from: Option<&'a [V]>, to: &'a mut [V], step: f32 },
    /// `x <- target - step value`, and the squared lengths of the moves are added to `sums`.
    FixedPoint { x: &'a mut [V], target: &'a [V], step: f32, sums: &'a mut [V; 4] },
    /// The cotangent of what stands before another convolution: `to <- [to +] mask . b'(z) . value`.
    Pull { source: Source<'a>, to: &'a mut [V], add: bool },
}

impl Output<'_> {
    /// Takes neighbouring values of a row, the first of them at place `at`.
    #[inline(always)]
    pub(crate) fn put<S: Simd>(&mut self, channel: usize, at: usize, values: &[V]) {
        let places = at..at + values.len();
        match self {
            Output::Store(to) => to[places].copy_from_slice(values),
            Output::Add { from: Some(from), to, step } => {
                let step = S::splat(*step);
                for ((to, from), value) in to[places.clone()].iter_mut().zip(&from[places]).zip(values) {
                    S::load(value).mul_add(step, S::load(from)).store(to);
                }
            }
            Output::Add { from: None, to, step } => {
                let step = S::splat(*step);
                for (to, value) in to[places].iter_mut().zip(values) {
                    S::load(value).mul_add(step, S::load(to)).store(to);
                }
            }
            Output::FixedPoint { x, target, step, sums } => {
                let step = S::splat(-*step);
                let moves = x[places.clone()].iter_mut().zip(&target[places.clone()]).zip(values).zip(places);
                for (((x, target), value), at) in moves {
                    let new = S::load(value).mul_add(step, S::load(target));
                    let moved = new.sub(S::load(x));
                    let sum = &mut sums[at % 4];
                    moved.mul_add(moved, S::load(sum)).store(sum);
                    new.store(x);
                }
            }
            Output::Pull { source, to, add } => {
                for (at, value) in places.zip(values) {
                    let pulled = source.pull(channel, at, S::load(value));
                    let to = &mut to[at];
                    match add {
                        true => S::load(to).add(pulled).store(to),
                        false => pulled.store(to),
                    }
                }
            }
        }
    }
}
