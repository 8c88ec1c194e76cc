//! The weights of a block packed for many calls.

use crate::block::shape::BlockShape;
use crate::buffer::Scratch;
use crate::conv::{PackedConv, convolve};
use crate::dropout::DropoutMask;
use crate::lane::V;
use crate::level::Level;
use crate::output::Output;
use crate::source::{Before, Source};

/// A map `z -> scale z + shift` per channel: a BatchNorm in evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// One a channel.
    pub scale: &'a [f32],
    /// One a channel.
    pub shift: &'a [f32],
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Forward passes and fixed-point steps.
    Inference,
    /// Those, and products with the transposed Jacobian.
    Training,
}

/// The weights of a block packed for many calls.
#[derive(Clone, Debug)]
pub struct BlockPlan {
    pub(crate) shape: BlockShape,
    pub(crate) level: Level,
    pub(crate) convs: [PackedConv; 3],
    pub(crate) adjoints: Option<[PackedConv; 3]>,
    affine: Option<[(Vec<f32>, Vec<f32>); 3]>,
}

impl BlockPlan {
    /// Packs the flat `weights` (`w1, b1, w2, b2, w3, b3` in PyTorch's layouts).
    ///
    /// # Panics
    /// If the lengths do not fit `shape`.
    pub fn new(shape: &BlockShape, weights: &[f32], affine: Option<[Affine<'_>; 3]>, purpose: Purpose) -> Self {
        Self::with_level(shape, weights, affine, purpose, Level::current())
    }

    /// The same for a given level.
    pub fn with_level(
        shape: &BlockShape,
        weights: &[f32],
        affine: Option<[Affine<'_>; 3]>,
        purpose: Purpose,
        level: Level,
    ) -> Self {
        assert!(Level::available().contains(&level), "this processor has no {level:?}");
        assert_eq!(weights.len(), shape.num_weights(), "weights of {shape:?}");
        for (map, (channels, _)) in affine.iter().flatten().zip(shape.channels()) {
            assert_eq!((map.scale.len(), map.shift.len()), (channels, channels), "channels of an affine map");
        }
        assert!(shape.kernels.iter().all(|k| k % 2 == 1), "odd kernels, not {:?}", shape.kernels);
        let places = shape.places();
        let of = |i: usize| (&weights[places[2 * i].clone()], &weights[places[2 * i + 1].clone()]);
        let convs = [0, 1, 2].map(|i| PackedConv::new(of(i).0, Some(of(i).1), shape.conv(i), level));
        let adjoints = (purpose == Purpose::Training)
            .then(|| [0, 1, 2].map(|i| PackedConv::adjoint(of(i).0, shape.conv(i), level)));
        let affine = affine.map(|maps| maps.map(|map| (map.scale.to_vec(), map.shift.to_vec())));
        BlockPlan { shape: *shape, level, convs, adjoints, affine }
    }

    /// The geometry.
    pub fn shape(&self) -> &BlockShape {
        &self.shape
    }

    /// Leaves the outputs of the first two convolutions in `hidden`, and returns the second.
    pub(crate) fn inner<'h>(&self, x: &[V], hidden: &'h mut [V], scratch: &mut Scratch) -> &'h [V] {
        let (z1, z2) = hidden.split_at_mut(self.shape.middle());
        convolve(self.level, &self.convs[0], self.source(0, x, None), true, scratch, Output::Store(z1));
        convolve(self.level, &self.convs[1], self.source(1, z1, None), true, scratch, Output::Store(z2));
        z2
    }

    /// Cotangent of the source of convolution `i` from that of its output.
    pub(crate) fn pull(
        &self,
        i: usize,
        cotangent: &[V],
        source: Source<'_>,
        to: &mut [V],
        add: bool,
        scratch: &mut Scratch,
    ) {
        let adjoint = &self.adjoints.as_ref().expect("a plan made for training")[i];
        convolve(self.level, adjoint, Source::plain(cotangent), false, scratch, Output::Pull { source, to, add });
    }

    /// What convolution `i` reads of `z`.
    pub(crate) fn source<'a>(&'a self, i: usize, z: &'a [V], mask: Option<DropoutMask<'a>>) -> Source<'a> {
        let activation = (i > 0 || self.shape.activate_input).then_some(self.shape.activation);
        let affine = self.affine.as_ref().map(|maps| (maps[i].0.as_slice(), maps[i].1.as_slice()));
        Source { z, before: Before { activation, affine }, mask }
    }
}
