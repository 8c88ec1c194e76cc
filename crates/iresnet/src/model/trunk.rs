//! The trunk on the fused kernels: images in, latents out.
//!
//! Between entering and leaving, everything stays in packs of [`LANES`] images (see `iresnet_kernels`). Evaluation runs
//! each pack through whole stages in place; training is [`super::tape`].

use std::sync::Arc;

use iresnet_kernels::{Affine, BlockPlan, DoubleBlock, ImageShape, LANES, Purpose, with_workspace};
use rayon::prelude::*;

use super::effective::{BlockWeights, EffectiveWeights};
use super::layout::{Block, Layout};
use crate::solve::Scalar;

/// Kernels ready to run one block.
pub(crate) fn plan(block: &Block, weights: &BlockWeights, purpose: Purpose) -> BlockPlan {
    BlockPlan::new(&block.shape, &weights.weights, affine(weights), purpose)
}

fn affine(weights: &BlockWeights) -> Option<[Affine<'_>; 3]> {
    weights.affine.as_ref().map(|maps| maps.each_ref().map(|map| Affine { scale: &map.scale, shift: &map.shift }))
}

/// Zero channels join the images, which become packs.
pub(crate) fn enter(images: &[f32], layout: &Layout, packs: &mut [f32]) {
    let (samples, len, padded) = (layout.samples(images), layout.input.len(), layout.padded.len());
    let mut wide = vec![0.0; samples * padded];
    for (image, wide) in images.chunks_exact(len).zip(wide.chunks_exact_mut(padded)) {
        wide[..len].copy_from_slice(image);
    }
    iresnet_kernels::pack(&wide, layout.padded, packs);
}

/// Packs of `shape` become `samples` images in NCHW.
pub(crate) fn leave(packs: &[f32], shape: ImageShape, samples: usize) -> Vec<f32> {
    let mut images = vec![0.0; samples * shape.len()];
    iresnet_kernels::unpack(packs, shape, &mut images);
    images
}

/// The 2x2 downsampling in front of a stage, on packs of `shape`.
pub(crate) fn downsample<T: Scalar>(packs: &[T], shape: ImageShape, to: ImageShape) -> Vec<T> {
    let mut out = vec![T::ZERO; packs.len() / shape.pack_len() * to.pack_len()];
    iresnet_kernels::pixel_unshuffle(packs, shape, &mut out);
    out
}

/// Its inverse, which is also its adjoint; `to` is the larger image.
pub(crate) fn upsample<T: Scalar>(packs: &[T], shape: ImageShape, to: ImageShape) -> Vec<T> {
    let mut out = vec![T::ZERO; packs.len() / shape.pack_len() * to.pack_len()];
    iresnet_kernels::pixel_shuffle(packs, to, &mut out);
    out
}

/// The trunk with its weights fixed: the network that is evaluated, inverted and audited.
pub struct FixedTrunk {
    pub(crate) layout: Arc<Layout>,
    pub(crate) plans: Vec<BlockPlan>,
    /// The same blocks in float64.
    pub(crate) doubles: Vec<DoubleBlock>,
}

impl FixedTrunk {
    /// Prepares the kernels for `weights`.
    pub fn new(layout: Arc<Layout>, weights: &EffectiveWeights) -> Self {
        let blocks = || layout.blocks().zip(&weights.blocks);
        let plans = blocks().map(|(block, weights)| plan(block, weights, Purpose::Inference)).collect();
        let doubles =
            blocks().map(|(block, weights)| DoubleBlock::new(&block.shape, &weights.weights, affine(weights)));
        FixedTrunk { doubles: doubles.collect(), layout, plans }
    }

    /// Latents of `images`.
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]` of the layout's input
    /// - result: `[n, C, H, W]` of the layout's latent
    ///
    /// # Panics
    /// If these are not whole images.
    pub fn forward(&self, images: &[f32]) -> Vec<f32> {
        self.run(&self.plans, images, |plans, packs| {
            packs.par_chunks_mut(plans[0].shape().image.pack_len()).for_each(|pack| {
                with_workspace(|workspace| plans.iter().for_each(|plan| plan.forward_pack(pack, workspace)));
            });
        })
    }

    /// The latents that suit an inverse with these certified constants: precise ones ([`Self::forward_precise`]) for a
    /// certified inverse, which takes its last steps in the same way, plain ones for any other.
    pub fn forward_to_invert(&self, images: &[f32], lipschitz: Option<&[f64]>) -> Vec<f32> {
        match lipschitz {
            Some(_) => self.forward_precise(images),
            None => self.forward(images),
        }
    }

    /// Takes the packs of `images` through `stage` by stage.
    fn run(
        &self,
        mut plans: &[BlockPlan],
        images: &[f32],
        mut stage: impl FnMut(&[BlockPlan], &mut [f32]),
    ) -> Vec<f32> {
        let samples = self.layout.samples(images);
        let mut packs = vec![0.0; samples.div_ceil(LANES) * self.layout.padded.pack_len()];
        enter(images, &self.layout, &mut packs);
        let mut shape = self.layout.padded;
        for (s, layout) in self.layout.stages.iter().enumerate() {
            if s > 0 {
                packs = downsample(&packs, shape, layout.image);
                shape = layout.image;
            }
            let (here, later) = plans.split_at(layout.blocks.len());
            plans = later;
            stage(here, &mut packs);
        }
        leave(&packs, shape, samples)
    }
}
