//! One residual block `y = x + h g(x)`, `g = W3 κ(W2 κ(W1 κ(x) + b1) + b2) + b3`: forward, fixed-point step, products
//! with the Jacobian and its transpose, weight gradients.

use rayon::prelude::*;

use crate::activation::Activation;
use crate::buffer::{Scratch, Workspace, with_workspace};
use crate::conv::{Output, PackedConv, convolve};
use crate::gradient::GradientSums;
use crate::level::{Level, leveled};
use crate::simd::Simd;
use crate::source::{Before, DropoutMask, Source};
use crate::{ConvShape, ImageShape, LANES, V, vectors, vectors_mut};

/// Geometry of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockShape {
    /// Its images.
    pub image: ImageShape,
    /// Channels between the convolutions.
    pub bottleneck: usize,
    /// Sides of the three kernels, odd.
    pub kernels: [usize; 3],
    /// κ.
    pub activation: Activation,
    /// Whether κ (and the first affine map) stands before the first convolution.
    pub activate_input: bool,
    /// h.
    pub step: f32,
}

impl BlockShape {
    /// The paper's block: kernels 3, 1, 3, ReLU before each, step 1.
    pub fn paper(image: ImageShape, bottleneck: usize) -> Self {
        let (kernels, activation) = ([3, 1, 3], Activation::Relu);
        BlockShape { image, bottleneck, kernels, activation, activate_input: true, step: 1.0 }
    }

    /// Input and output channels of the three convolutions.
    pub fn channels(&self) -> [(usize, usize); 3] {
        let (c, m) = (self.image.channels, self.bottleneck);
        [(c, m), (m, m), (m, c)]
    }

    /// Places of `w1, b1, w2, b2, w3, b3` in the flat weights.
    pub fn places(&self) -> [std::ops::Range<usize>; 6] {
        let mut start = 0;
        let mut place = |len: usize| {
            start += len;
            start - len..start
        };
        let [a, b, c] = [0, 1, 2].map(|i| {
            let (cin, cout) = self.channels()[i];
            [place(cin * cout * self.kernels[i] * self.kernels[i]), place(cout)]
        });
        let ([a0, a1], [b0, b1], [c0, c1]) = (a, b, c);
        [a0, a1, b0, b1, c0, c1]
    }

    /// Number of weights and biases.
    pub fn num_weights(&self) -> usize {
        self.places()[5].end
    }

    /// Geometry of convolution `i`.
    pub(crate) fn conv(&self, i: usize) -> ConvShape {
        let (in_channels, out_channels) = self.channels()[i];
        let ImageShape { height, width, .. } = self.image;
        ConvShape { in_channels, out_channels, kernel: self.kernels[i], height, width }
    }

    /// Positions of an image.
    pub(crate) fn area(&self) -> usize {
        self.image.height * self.image.width
    }

    /// Values an image of the output of one of the first two convolutions, which is also what dropout masks.
    pub fn middle(&self) -> usize {
        self.bottleneck * self.area()
    }

    /// Values a pack that a backward pass wants kept: the outputs of the first two convolutions.
    pub fn hidden_len(&self) -> usize {
        2 * self.middle() * LANES
    }
}

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

    /// `y = x + h g(x)` for all packs.
    ///
    /// `hidden`, if given, receives [`BlockShape::hidden_len`] values a pack for the backward pass.
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

    /// Leaves the outputs of the first two convolutions in `hidden`, and returns the second.
    fn inner<'h>(&self, x: &[V], hidden: &'h mut [V], scratch: &mut Scratch) -> &'h [V] {
        let (z1, z2) = hidden.split_at_mut(self.shape.middle());
        convolve(self.level, &self.convs[0], self.source(0, x, None), true, scratch, Output::Store(z1));
        convolve(self.level, &self.convs[1], self.source(1, z1, None), true, scratch, Output::Store(z2));
        z2
    }

    /// Cotangent of the source of convolution `i` from that of its output.
    fn pull(&self, i: usize, cotangent: &[V], source: Source<'_>, to: &mut [V], add: bool, scratch: &mut Scratch) {
        let adjoint = &self.adjoints.as_ref().expect("a plan made for training")[i];
        convolve(self.level, adjoint, Source::plain(cotangent), false, scratch, Output::Pull { source, to, add });
    }

    /// What convolution `i` reads of `z`.
    fn source<'a>(&'a self, i: usize, z: &'a [V], mask: Option<DropoutMask<'a>>) -> Source<'a> {
        let activation = (i > 0 || self.shape.activate_input).then_some(self.shape.activation);
        let affine = self.affine.as_ref().map(|maps| (maps[i].0.as_slice(), maps[i].1.as_slice()));
        Source { z, before: Before { activation, affine }, mask }
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
