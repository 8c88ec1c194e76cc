//! The forward pass with batch statistics.

use rayon::prelude::*;

use crate::batchnorm::normalization::{Moments, source};
use crate::block::BlockPlan;
use crate::buffer::with_workspace;
use crate::conv::convolve;
use crate::dropout::DropoutMask;
use crate::lane::{LANES, vectors, vectors_mut};
use crate::output::Output;

/// What the backward pass needs beside the block's input.
#[derive(Clone, Debug)]
pub struct BatchNormTape {
    pub(crate) moments: [Option<Moments>; 3],
    /// Outputs of the first and of the second convolution.
    pub(crate) inner: [Vec<f32>; 2],
    pub(crate) samples: usize,
}

impl BatchNormTape {
    /// Statistics of the three normalisations; the first is absent where the block does not activate its input.
    pub fn moments(&self) -> &[Option<Moments>; 3] {
        &self.moments
    }
}

impl BlockPlan {
    /// `y = x + h g(x)` with batch statistics over the `samples` real images.
    ///
    /// `affine` holds `scale, shift` of each normalisation there is (two or three), in order.
    pub fn forward_batchnorm(
        &self,
        x: &[f32],
        y: &mut [f32],
        samples: usize,
        affine: &[f32],
        mask: Option<DropoutMask<'_>>,
    ) -> BatchNormTape {
        let shape = &self.shape;
        let (len, middle) = (shape.image.pack_len(), shape.middle());
        let packs = x.len() / len;
        let mut inner = [vec![0.0; packs * middle * LANES], vec![0.0; packs * middle * LANES]];
        let mut moments: [Option<Moments>; 3] = [None, None, None];
        for i in 0..3 {
            let channels = shape.channels()[i].0;
            let (before, after) = inner.split_at_mut(1);
            let z: &[f32] = match i {
                0 => x,
                1 => &before[0],
                _ => &after[0],
            };
            if i > 0 || shape.activate_input {
                moments[i] = Some(self.moments_of(z, channels, samples));
            }
            let map = self.map(i, &moments[i], affine);
            let source_len = channels * shape.area() * LANES;
            let run = |pack: usize, z: &[f32], output: Output<'_>| {
                let mask = if i == 2 { mask.map(|m| m.of_pack(pack, middle)) } else { None };
                let source = source(self, map.as_ref(), vectors(z), mask);
                with_workspace(|workspace| {
                    convolve(self.level, &self.convs[i], source, true, &mut workspace.scratch, output);
                });
            };
            match i {
                0 => {
                    let packs = before[0].par_chunks_mut(middle * LANES).zip(x.par_chunks(source_len)).enumerate();
                    packs.for_each(|(pack, (out, z))| run(pack, z, Output::Store(vectors_mut(out))));
                }
                1 => {
                    let packs =
                        after[0].par_chunks_mut(middle * LANES).zip(before[0].par_chunks(source_len)).enumerate();
                    packs.for_each(|(pack, (out, z))| run(pack, z, Output::Store(vectors_mut(out))));
                }
                _ => {
                    let packs = y.par_chunks_mut(len).zip(x.par_chunks(len)).zip(after[0].par_chunks(source_len));
                    packs.enumerate().for_each(|(pack, ((out, x), z))| {
                        let (from, to) = (Some(vectors(x)), vectors_mut(out));
                        run(pack, z, Output::Add { from, to, step: shape.step });
                    });
                }
            }
        }
        BatchNormTape { moments, inner, samples }
    }
}
