//! Gradients of a block, with respect to its input and its weights.

use rayon::prelude::*;

use crate::block::plan::BlockPlan;
use crate::buffer::{Workspace, with_workspace};
use crate::conv::GradientSums;
use crate::dropout::DropoutMask;
use crate::lane::{vectors, vectors_mut};

impl BlockPlan {
    /// `gradient` holds dL/dy and becomes dL/dx; dL/dw is added to `weights`, in the flat order. `hidden` is what
    /// [`BlockPlan::forward`] kept.
    ///
    /// # Panics
    /// If the plan was made for inference only.
    pub fn backward(
        &self,
        x: &[f32],
        hidden: &[f32],
        gradient: &mut [f32],
        mask: Option<DropoutMask<'_>>,
        weights: &mut [f32],
    ) {
        let (shape, len, middle) = (&self.shape, self.shape.image.pack_len(), self.shape.middle());
        assert!(x.len() == gradient.len() && x.len().is_multiple_of(len), "packs of {len} values in and out");
        assert_eq!(hidden.len(), x.len() / len * shape.hidden_len(), "hidden values");
        assert_eq!(weights.len(), shape.num_weights(), "gradients of {shape:?}");
        let places = shape.places();
        let partials: Vec<Vec<f32>> = partitions(gradient, len)
            .into_par_iter()
            .map(|(first, gradients)| {
                let mut partial = vec![0.0; shape.num_weights()];
                with_workspace(|Workspace { cotangents: [d2, d1], sums: [s0, s1, s2], scratch, .. }| {
                    let (d2, d1) = (d2.sized(middle), d1.sized(middle));
                    let (w0, rest) = partial.split_at_mut(places[1].end);
                    let (w1, w2) = rest.split_at_mut(places[3].end - places[1].end);
                    let mut sums0 = GradientSums::new(shape.conv(0), self.level, w0, s0);
                    let mut sums1 = GradientSums::new(shape.conv(1), self.level, w1, s1);
                    let mut sums2 = GradientSums::new(shape.conv(2), self.level, w2, s2);
                    for (i, gradient) in gradients.chunks_exact_mut(len).enumerate() {
                        let pack = first + i;
                        let mask = mask.map(|m| m.of_pack(pack, middle));
                        let x = vectors(&x[pack * len..(pack + 1) * len]);
                        let hidden = &hidden[pack * shape.hidden_len()..][..shape.hidden_len()];
                        let (z1, z2) = vectors(hidden).split_at(middle);
                        let gradient = vectors_mut(gradient);
                        let [input, a1, a2] =
                            [self.source(0, x, None), self.source(1, z1, None), self.source(2, z2, mask)];
                        // d2 and d1 are cotangents of the outputs of convolutions 2 and 1, h left out until the end.
                        sums2.add(a2, gradient, shape.step, scratch);
                        self.pull(2, gradient, a2, d2, false, scratch);
                        sums1.add(a1, d2, shape.step, scratch);
                        self.pull(1, d2, a1, d1, false, scratch);
                        sums0.add(input, d1, shape.step, scratch);
                        if shape.step != 1.0 {
                            d1.as_flattened_mut().iter_mut().for_each(|d| *d *= shape.step);
                        }
                        self.pull(0, d1, input, gradient, true, scratch);
                    }
                    sums0.finish();
                    sums1.finish();
                    sums2.finish();
                });
                partial
            })
            .collect();
        add_all(weights, &partials);
    }
}

/// Number of partial sums of the weight gradient: fixed, so that results do not depend on the number of threads.
const PARTITIONS: usize = 4;

/// Splits packs into at most [`PARTITIONS`] runs: number of the first pack, values.
pub(crate) fn partitions(packs: &mut [f32], len: usize) -> Vec<(usize, &mut [f32])> {
    let count = packs.len() / len;
    let each = count.div_ceil(PARTITIONS).max(1);
    packs.chunks_mut(each * len).enumerate().map(|(i, run)| (i * each, run)).collect()
}

/// `sum += all partials`, in their order.
pub(crate) fn add_all(sum: &mut [f32], partials: &[Vec<f32>]) {
    for partial in partials {
        for (to, from) in sum.iter_mut().zip(partial) {
            *to += from;
        }
    }
}
