//! Forward passes and fixed-point steps of a block.

use rayon::prelude::*;

use crate::block::plan::BlockPlan;
use crate::buffer::{Scratch, Workspace, with_workspace};
use crate::conv::convolve;
use crate::dropout::DropoutMask;
use crate::lane::{LANES, V, vectors, vectors_mut};
use crate::output::Output;

impl BlockPlan {
    /// `x <- x + h g(x)` for one pack.
    pub fn forward_pack(&self, x: &mut [f32], workspace: &mut Workspace) {
        let Workspace { hidden, scratch, .. } = workspace;
        let x = vectors_mut(x);
        let z2 = self.inner(x, hidden.sized(2 * self.shape.middle()), scratch);
        let output = Output::Add { from: None, to: x, step: self.shape.step };
        convolve(self.level, &self.convs[2], self.source(2, z2, None), true, scratch, output);
    }

    /// `g(x)` for one pack, without h.
    pub fn branch_pack(&self, x: &[f32], g: &mut [f32], workspace: &mut Workspace) {
        let Workspace { hidden, scratch, .. } = workspace;
        let z2 = self.inner(vectors(x), hidden.sized(2 * self.shape.middle()), scratch);
        let output = Output::Store(vectors_mut(g));
        convolve(self.level, &self.convs[2], self.source(2, z2, None), true, scratch, output);
    }

    /// `x <- y - h g(x)` for one pack; returns `||x_new - x_old||^2` of each lane.
    ///
    /// `hidden`, if given, receives what [`BlockPlan::backward`] needs to know of the old x. `mask` is of this pack.
    pub fn fixed_point_pack(
        &self,
        y: &[f32],
        x: &mut [f32],
        hidden: Option<&mut [f32]>,
        mask: Option<DropoutMask<'_>>,
        workspace: &mut Workspace,
    ) -> [f32; LANES] {
        let Workspace { hidden: own, scratch, .. } = workspace;
        let hidden = match hidden {
            Some(hidden) => vectors_mut(hidden),
            None => own.sized(2 * self.shape.middle()),
        };
        let x = vectors_mut(x);
        let z2 = self.inner(x, hidden, scratch);
        // Four sums keep float32's rounding below what the stopping rules need.
        let mut sums = [[0.0; LANES]; 4];
        let output = Output::FixedPoint { x, target: vectors(y), step: self.shape.step, sums: &mut sums };
        convolve(self.level, &self.convs[2], self.source(2, z2, mask), true, scratch, output);
        let [a, b, c, d] = sums;
        std::array::from_fn(|l| (a[l] + b[l]) + (c[l] + d[l]))
    }

    /// `y = x + h g(x)` for all packs.
    ///
    /// `hidden`, if given, receives [`crate::BlockShape::hidden_len`] values a pack for the backward pass.
    pub fn forward(&self, x: &[f32], y: &mut [f32], hidden: Option<&mut [f32]>, mask: Option<DropoutMask<'_>>) {
        let (shape, len) = (&self.shape, self.shape.image.pack_len());
        assert!(x.len() == y.len() && x.len().is_multiple_of(len), "packs of {len} values in and out");
        let run = |i: usize, x: &[f32], y: &mut [f32], hidden: &mut [V], scratch: &mut Scratch| {
            let (x, mask) = (vectors(x), mask.map(|m| m.of_pack(i, shape.middle())));
            let z2 = self.inner(x, hidden, scratch);
            let output = Output::Add { from: Some(x), to: vectors_mut(y), step: shape.step };
            convolve(self.level, &self.convs[2], self.source(2, z2, mask), true, scratch, output);
        };
        let packs = y.par_chunks_mut(len).zip(x.par_chunks(len)).enumerate();
        match hidden {
            Some(hidden) => {
                assert_eq!(hidden.len(), x.len() / len * shape.hidden_len(), "hidden values");
                packs.zip(hidden.par_chunks_mut(shape.hidden_len())).for_each(|((i, (y, x)), hidden)| {
                    with_workspace(|workspace| run(i, x, y, vectors_mut(hidden), &mut workspace.scratch));
                });
            }
            None => packs.for_each(|(i, (y, x))| {
                with_workspace(|Workspace { hidden, scratch, .. }| {
                    run(i, x, y, hidden.sized(2 * shape.middle()), scratch);
                });
            }),
        }
    }
}
