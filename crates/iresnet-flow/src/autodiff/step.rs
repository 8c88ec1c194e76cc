//! What a training pass needs of a layer.

use iresnet_kernels::NearZero;
use rayon::prelude::*;

use super::pool::Pool;
use crate::{ImageShape, LANES, Purpose};

/// A layer of a training pass. Its parameters' gradient has `num_parameters` places of its own in the pass's gradient.
pub trait TrainedLayer: Send + Sync {
    /// Shape of a sample that goes in.
    fn input(&self) -> ImageShape;

    /// Shape of a sample that comes out.
    fn output(&self) -> ImageShape;

    /// Number of trainable parameters.
    fn num_parameters(&self) -> usize {
        0
    }

    /// Kernels ready to run on `samples` samples, for a forward pass ([`Purpose::Inference`]) or for the way back.
    fn prepare(&self, samples: usize, purpose: Purpose) -> Box<dyn Step + '_>;

    /// Whether its input can be recovered only by iterating, so that inputs of such layers are what [`super::Memory`] is
    /// about. Others are recovered by a closed form always.
    fn is_iterative(&self) -> bool {
        false
    }

    /// Whether its derivative jumps somewhere, so that recovered values near the jump must come out on their side of it.
    fn has_kinks(&self) -> bool {
        false
    }
}

/// A layer ready to run on the samples of one pass; packs `[n / 16][channel][y][x][16]` in and out.
pub trait Step: Send + Sync {
    /// Output, and what happened inside: kept if it is asked for or made anyway.
    fn forward(&self, x: &[f32], keep_inner: bool, pool: &Pool) -> (Vec<f32>, Inner);

    /// Input, and what happened inside, from the output; `None` if some sample's cannot be found.
    fn recover(&self, y: &[f32], pool: &Pool) -> Option<Recovered>;

    /// `gradient` holds that of the output and becomes that of the input; the parameters' is added to `parameters`.
    fn backward(&self, x: &[f32], inner: Inner, gradient: &mut Vec<f32>, parameters: &mut [f32], pool: &Pool);
}

/// What was recovered of a layer.
pub struct Recovered {
    /// Its input.
    pub input: Vec<f32>,
    /// What happened inside.
    pub inner: Inner,
    /// Evaluations of a branch that took, over all packs.
    pub evaluations: usize,
}

/// What happened inside a layer.
#[derive(Debug)]
pub enum Inner {
    /// Nothing that a backward pass needs, or it was not kept.
    Nothing,
    /// Values between its operations, packs.
    Hidden(Vec<f32>),
    /// Those, and the statistics of the batch.
    Normalized(Box<iresnet_kernels::BatchNormTape>),
}

/// The sides of values this close to zero, relative to the root mean square of their pack, are kept. Errors of recovered
/// values grow from layer to layer and stay far below this (a fresh paper-cifar10 needs 3e-5).
const KINK: f32 = 1e-4;

/// Sides of zero on which recovered activations must come out, of every pack: of the input, and inside.
#[derive(Debug)]
pub struct Kinks {
    input: Vec<NearZero>,
    hidden: Vec<NearZero>,
}

impl Kinks {
    /// The values near zero of a layer that was run on `samples` samples.
    pub(super) fn of(input: &[f32], inner: &Inner, samples: usize) -> Self {
        let packs = samples.div_ceil(LANES);
        let near = |values: &[f32]| {
            let lanes = |pack: usize| (samples - pack * LANES).min(LANES);
            let packs = values.par_chunks(values.len() / packs).enumerate();
            packs.map_init(Vec::new, |scratch, (i, pack)| NearZero::of(pack, lanes(i), KINK, scratch)).collect()
        };
        let hidden = if let Inner::Hidden(hidden) = inner { near(hidden) } else { Vec::new() };
        Kinks { input: near(input), hidden }
    }

    /// Puts the values back on their sides.
    pub(super) fn restore(&self, input: &mut [f32], inner: &mut Inner) {
        let put = |values: &mut [f32], kinks: &[NearZero]| {
            let len = values.len() / kinks.len().max(1);
            values.chunks_exact_mut(len).zip(kinks).for_each(|(pack, kinks)| kinks.restore(pack));
        };
        put(input, &self.input);
        if let Inner::Hidden(hidden) = inner {
            put(hidden, &self.hidden);
        }
    }
}
