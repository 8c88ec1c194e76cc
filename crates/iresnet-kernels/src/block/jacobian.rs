//! Products with the Jacobian of a block's branch and with its transpose.

use crate::block::plan::BlockPlan;
use crate::buffer::Workspace;
use crate::conv::convolve;
use crate::lane::{V, vectors, vectors_mut};
use crate::level::leveled;
use crate::output::Output;
use crate::simd::Simd;
use crate::source::Source;

impl BlockPlan {
    /// `out = J_g(x) v` for one pack.
    pub fn jvp_pack(&self, x: &[f32], v: &[f32], out: &mut [f32], workspace: &mut Workspace) {
        let (x, v, level, middle) = (vectors(x), vectors(v), self.level, self.shape.middle());
        let Workspace { hidden, cotangents: [wide, narrow], scratch, .. } = workspace;
        let hidden = hidden.sized(2 * middle);
        self.inner(x, hidden, scratch);
        let (z1, z2) = hidden.split_at(middle);
        let (wide, narrow) = (wide.sized(x.len().max(middle)), narrow.sized(middle));
        tangent(level, self.source(0, x, None), v, self.shape.area(), &mut wide[..x.len()]);
        convolve(level, &self.convs[0], Source::plain(&wide[..x.len()]), false, scratch, Output::Store(narrow));
        let wide = &mut wide[..middle];
        tangent(level, self.source(1, z1, None), narrow, self.shape.area(), wide);
        convolve(level, &self.convs[1], Source::plain(wide), false, scratch, Output::Store(narrow));
        tangent(level, self.source(2, z2, None), narrow, self.shape.area(), wide);
        convolve(level, &self.convs[2], Source::plain(wide), false, scratch, Output::Store(vectors_mut(out)));
    }

    /// `out = J_g(x)^T cotangent` for one pack.
    ///
    /// # Panics
    /// If the plan was made for inference only.
    pub fn vjp_input_pack(&self, x: &[f32], cotangent: &[f32], out: &mut [f32], workspace: &mut Workspace) {
        let (x, cotangent, middle) = (vectors(x), vectors(cotangent), self.shape.middle());
        let Workspace { hidden, cotangents: [d2, d1], scratch, .. } = workspace;
        let hidden = hidden.sized(2 * middle);
        self.inner(x, hidden, scratch);
        let (z1, z2) = hidden.split_at(middle);
        let (d2, d1) = (d2.sized(middle), d1.sized(middle));
        self.pull(2, cotangent, self.source(2, z2, None), d2, false, scratch);
        self.pull(1, d2, self.source(1, z1, None), d1, false, scratch);
        self.pull(0, d1, self.source(0, x, None), vectors_mut(out), false, scratch);
    }
}

#[inline(always)]
fn tangent_inner<S: Simd>(source: Source<'_>, v: &[V], area: usize, out: &mut [V]) {
    for (c, channel) in out.chunks_exact_mut(area).enumerate() {
        for (p, out) in channel.iter_mut().enumerate() {
            let at = c * area + p;
            source.pull(c, at, S::load(&v[at])).store(out);
        }
    }
}
leveled!(
    /// `out = mask . b'(z) . v`
    fn tangent = tangent_inner(source: Source<'_>, v: &[V], area: usize, out: &mut [V])
);
