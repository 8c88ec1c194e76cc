//! One residual block `y = x + h g(x)`, `g = W3 κ(W2 κ(W1 κ(x) + b1) + b2) + b3`: forward, fixed-point step, products
//! with the Jacobian and its transpose, weight gradients.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::conv::{Output, PackedConv, Plane, convolve, weight_gradient};
use crate::level::{Level, leveled};
use crate::simd::Simd;
use crate::{ImageShape, LANES, V, vectors, vectors_mut};

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

    /// The bordered buffer that convolution `i` reads.
    pub(crate) fn plane(&self, i: usize) -> Plane {
        let channels = self.channels()[i].0;
        let ImageShape { height, width, .. } = self.image;
        Plane::new(channels, height, width, self.kernels[i])
    }

    /// The bordered buffer that the adjoint of convolution `i` reads.
    pub(crate) fn adjoint_plane(&self, i: usize) -> Plane {
        Plane { channels: self.channels()[i].1, ..self.plane(i) }
    }

    /// Vectors of one image of `channels` channels.
    pub(crate) fn area(&self) -> usize {
        self.image.height * self.image.width
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

/// Dropout on the input of the last convolution.
#[derive(Clone, Copy, Debug)]
pub struct DropoutMask<'a> {
    /// `[pack][channel][y][x]`; bit l keeps lane l.
    pub bits: &'a [u16],
    /// What kept values are multiplied by.
    pub scale: f32,
}

impl<'a> DropoutMask<'a> {
    pub(crate) fn of_pack(&self, pack: usize, len: usize) -> DropoutMask<'a> {
        DropoutMask { bits: &self.bits[pack * len..(pack + 1) * len], scale: self.scale }
    }
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

/// Buffers of one thread, grown on demand.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    buffers: [Vec<V>; 6],
    transforms: Vec<V>,
}

/// `len` vectors of a buffer that only grows, so that blocks of all shapes share it; contents are whatever was there.
pub(crate) fn sized(buffer: &mut Vec<V>, len: usize) -> &mut [V] {
    if buffer.len() < len {
        buffer.resize(len, [0.0; LANES]);
    }
    &mut buffer[..len]
}

/// Runs `f` with this thread's own workspace: allocating one a call costs more than a narrow block.
pub(crate) fn with_workspace<T>(f: impl FnOnce(&mut Workspace) -> T) -> T {
    thread_local! {
        static WORKSPACE: RefCell<Workspace> = RefCell::default();
    }
    WORKSPACE.with_borrow_mut(f)
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
        let channels = shape.channels();
        let convs =
            [0, 1, 2].map(|i| PackedConv::new(of(i).0, of(i).1, channels[i].1, channels[i].0, shape.kernels[i]));
        let adjoints = (purpose == Purpose::Training)
            .then(|| [0, 1, 2].map(|i| PackedConv::adjoint(of(i).0, channels[i].1, channels[i].0, shape.kernels[i])));
        let affine = affine.map(|maps| maps.map(|map| (map.scale.to_vec(), map.shift.to_vec())));
        BlockPlan { shape: *shape, level, convs, adjoints, affine }
    }

    /// The geometry.
    pub fn shape(&self) -> &BlockShape {
        &self.shape
    }

    /// `x <- x + h g(x)` for one pack.
    pub fn forward_pack(&self, x: &mut [f32], mask: Option<DropoutMask<'_>>, workspace: &mut Workspace) {
        forward_in_place(self.level, self, vectors_mut(x), mask, workspace);
    }

    /// `g(x)` for one pack, without h.
    pub fn branch_pack(&self, x: &[f32], g: &mut [f32], workspace: &mut Workspace) {
        branch(self.level, self, vectors(x), vectors_mut(g), workspace);
    }

    /// `x <- y - h g(x)` for one pack; returns `||x_new - x_old||^2` of each lane.
    pub fn fixed_point_pack(&self, y: &[f32], x: &mut [f32], workspace: &mut Workspace) -> [f32; LANES] {
        fixed_point(self.level, self, vectors(y), vectors_mut(x), workspace)
    }

    /// `out = J_g(x) v` for one pack.
    pub fn jvp_pack(&self, x: &[f32], v: &[f32], out: &mut [f32], workspace: &mut Workspace) {
        jvp(self.level, self, vectors(x), vectors(v), vectors_mut(out), workspace);
    }

    /// `out = J_g(x)^T cotangent` for one pack.
    ///
    /// # Panics
    /// If the plan was made for inference only.
    pub fn vjp_input_pack(&self, x: &[f32], cotangent: &[f32], out: &mut [f32], workspace: &mut Workspace) {
        vjp_input(self.level, self, vectors(x), vectors(cotangent), vectors_mut(out), workspace);
    }

    /// `y = x + h g(x)` for all packs.
    pub fn forward(&self, x: &[f32], y: &mut [f32], mask: Option<DropoutMask<'_>>) {
        let len = self.shape.image.pack_len();
        let mask_len = self.shape.bottleneck * self.shape.area();
        assert!(x.len() == y.len() && x.len().is_multiple_of(len), "packs of {len} values in and out");
        y.par_chunks_mut(len).zip(x.par_chunks(len)).enumerate().for_each(|(i, (y, x))| {
            y.copy_from_slice(x);
            with_workspace(|workspace| self.forward_pack(y, mask.map(|m| m.of_pack(i, mask_len)), workspace));
        });
    }

    /// `gradient` holds dL/dy and becomes dL/dx; dL/dw is added to `weights`, in the flat order.
    ///
    /// # Panics
    /// If the plan was made for inference only.
    pub fn backward(&self, x: &[f32], gradient: &mut [f32], mask: Option<DropoutMask<'_>>, weights: &mut [f32]) {
        let len = self.shape.image.pack_len();
        let mask_len = self.shape.bottleneck * self.shape.area();
        assert!(x.len() == gradient.len() && x.len().is_multiple_of(len), "packs of {len} values in and out");
        assert_eq!(weights.len(), self.shape.num_weights(), "gradients of {:?}", self.shape);
        let partials: Vec<Vec<f32>> = partitions(gradient, len)
            .into_par_iter()
            .map(|(first, gradients)| {
                let mut partial = vec![0.0; self.shape.num_weights()];
                for (i, gradient) in gradients.chunks_exact_mut(len).enumerate() {
                    let at = first + i;
                    let mask = mask.map(|m| m.of_pack(at, mask_len));
                    let x = vectors(&x[at * len..(at + 1) * len]);
                    let gradient = vectors_mut(gradient);
                    with_workspace(|workspace| backward(self.level, self, x, gradient, mask, &mut partial, workspace));
                }
                partial
            })
            .collect();
        add_all(weights, &partials);
    }

    /// What stands before convolution `i`.
    #[inline(always)]
    fn before(&self, i: usize) -> Before<'_> {
        let activation = (i > 0 || self.shape.activate_input).then_some(self.shape.activation);
        let affine = self.affine.as_ref().map(|maps| (maps[i].0.as_slice(), maps[i].1.as_slice()));
        Before { activation, affine }
    }

    /// `z <- b'(z) mask v`, the cotangent of what stands before convolution `i`; also written to the bordered `out`.
    #[inline(always)]
    fn through_activation<S: Simd>(
        &self,
        i: usize,
        mask: Option<DropoutMask<'_>>,
        v: &[V],
        z: &mut [V],
        plane: Plane,
        out: &mut [V],
    ) {
        let before = self.before(i);
        for c in 0..plane.channels {
            for y in 0..plane.height {
                let (row, start) = plane.rows(c, y);
                for x in 0..plane.width {
                    let at = start + x;
                    let mut value = S::load(&v[at]);
                    if let Some(mask) = mask {
                        value = masked(value, mask.bits[at], mask.scale);
                    }
                    let value = before.derivative(c, S::load(&z[at])).mul(value);
                    value.store(&mut z[at]);
                    value.store(&mut out[row + x]);
                }
            }
        }
    }

    /// `b'(z) v` of what stands before convolution `i`, into its bordered input.
    #[inline(always)]
    fn tangent<S: Simd>(&self, i: usize, z: &[V], v: &[V], out: &mut [V]) {
        let (before, plane) = (self.before(i), self.shape.plane(i));
        for c in 0..plane.channels {
            for y in 0..plane.height {
                let (row, at) = plane.rows(c, y);
                for x in 0..plane.width {
                    let d = before.derivative(c, S::load(&z[at + x]));
                    d.mul(S::load(&v[at + x])).store(&mut out[row + x]);
                }
            }
        }
    }
}

/// What stands before a convolution: an affine map per channel, if there is one, then κ; or nothing at all.
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
    fn derivative<S: Simd>(&self, channel: usize, z: S) -> S {
        match (self.activation, self.affine) {
            (Some(_), Some((scale, _))) => self.slope(channel, z).mul(S::splat(scale[channel])),
            _ => self.slope(channel, z),
        }
    }

    /// Fills a convolution's bordered input from unbordered `z`, dropout last.
    #[inline(always)]
    pub(crate) fn fill<S: Simd>(&self, z: &[V], mask: Option<DropoutMask<'_>>, plane: Plane, out: &mut [V]) {
        for c in 0..plane.channels {
            for y in 0..plane.height {
                let (row, at) = plane.rows(c, y);
                for x in 0..plane.width {
                    let mut value = self.apply(c, S::load(&z[at + x]));
                    if let Some(mask) = mask {
                        value = masked(value, mask.bits[at + x], mask.scale);
                    }
                    value.store(&mut out[row + x]);
                }
            }
        }
    }
}

/// `value * scale` where the bit is set, else 0.
#[inline(always)]
pub(crate) fn masked<S: Simd>(value: S, bits: u16, scale: f32) -> S {
    let mut factors = [0.0; LANES];
    for l in 0..LANES {
        factors[l] = if bits >> l & 1 == 1 { scale } else { 0.0 };
    }
    value.mul(S::load(&factors))
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

/// The common part of all passes: leaves z1, z2 (unbordered) and the bordered inputs of the convolutions 2 and 3.
struct Inner<'w> {
    input: &'w mut [V],
    z1: &'w mut [V],
    a1: &'w mut [V],
    z2: &'w mut [V],
    a2: &'w mut [V],
    extra: &'w mut Vec<V>,
    transforms: &'w mut Vec<V>,
}

#[inline(always)]
fn inner<'w, S: Simd>(
    plan: &BlockPlan,
    x: &[V],
    mask: Option<DropoutMask<'_>>,
    workspace: &'w mut Workspace,
) -> Inner<'w> {
    let shape = &plan.shape;
    let middle = shape.bottleneck * shape.area();
    let Workspace { buffers: [input, z1, a1, z2, a2, extra], transforms } = workspace;
    let planes = [0, 1, 2].map(|i| shape.plane(i));
    let (input, a1, a2) = (fresh(input, planes[0]), fresh(a1, planes[1]), fresh(a2, planes[2]));
    let (z1, z2) = (sized(z1, middle), sized(z2, middle));
    plan.before(0).fill::<S>(x, None, planes[0], input);
    convolve(plan.level, &plan.convs[0], planes[0], input, true, transforms, Output::Store(z1));
    plan.before(1).fill::<S>(z1, None, planes[1], a1);
    convolve(plan.level, &plan.convs[1], planes[1], a1, true, transforms, Output::Store(z2));
    plan.before(2).fill::<S>(z2, mask, planes[2], a2);
    Inner { input, z1, a1, z2, a2, extra, transforms }
}

/// A buffer for `plane` whose border is zero. The shape of a workspace's buffer may change between blocks.
#[inline(always)]
fn fresh(buffer: &mut Vec<V>, plane: Plane) -> &mut [V] {
    let buffer = sized(buffer, plane.len());
    clear_border(plane, buffer);
    buffer
}

/// Zeroes the border of a bordered buffer.
#[inline(always)]
pub(crate) fn clear_border(plane: Plane, buffer: &mut [V]) {
    let (b, stride) = (plane.border, plane.row_stride());
    if b == 0 {
        return;
    }
    for channel in buffer.chunks_exact_mut(plane.channel_stride()) {
        channel[..b * stride].fill([0.0; LANES]);
        channel[(b + plane.height) * stride..].fill([0.0; LANES]);
        for row in channel.chunks_exact_mut(stride) {
            row[..b].fill([0.0; LANES]);
            row[b + plane.width..].fill([0.0; LANES]);
        }
    }
}

#[inline(always)]
fn forward_in_place_inner<S: Simd>(
    plan: &BlockPlan,
    x: &mut [V],
    mask: Option<DropoutMask<'_>>,
    workspace: &mut Workspace,
) {
    let inner = inner::<S>(plan, x, mask, workspace);
    let output = Output::Add { to: x, step: plan.shape.step };
    convolve(plan.level, &plan.convs[2], plan.shape.plane(2), inner.a2, true, inner.transforms, output);
}
leveled!(fn forward_in_place = forward_in_place_inner(plan: &BlockPlan, x: &mut [V], mask: Option<DropoutMask<'_>>, workspace: &mut Workspace));

#[inline(always)]
fn branch_inner<S: Simd>(plan: &BlockPlan, x: &[V], g: &mut [V], workspace: &mut Workspace) {
    let inner = inner::<S>(plan, x, None, workspace);
    convolve(plan.level, &plan.convs[2], plan.shape.plane(2), inner.a2, true, inner.transforms, Output::Store(g));
}
leveled!(fn branch = branch_inner(plan: &BlockPlan, x: &[V], g: &mut [V], workspace: &mut Workspace));

#[inline(always)]
fn fixed_point_inner<S: Simd>(plan: &BlockPlan, target: &[V], x: &mut [V], workspace: &mut Workspace) -> V {
    let inner = inner::<S>(plan, x, None, workspace);
    // Four sums keep float32's rounding below what the stopping rules need.
    let mut sums = [[0.0; LANES]; 4];
    let output = Output::FixedPoint { x, target, step: plan.shape.step, sums: &mut sums };
    convolve(plan.level, &plan.convs[2], plan.shape.plane(2), inner.a2, true, inner.transforms, output);
    let [a, b, c, d] = &sums;
    S::load(a).add(S::load(b)).add(S::load(c).add(S::load(d))).array()
}
leveled!(fn fixed_point = fixed_point_inner(plan: &BlockPlan, target: &[V], x: &mut [V], workspace: &mut Workspace) -> V);

#[inline(always)]
fn jvp_inner<S: Simd>(plan: &BlockPlan, x: &[V], v: &[V], out: &mut [V], workspace: &mut Workspace) {
    let shape = &plan.shape;
    let inner = inner::<S>(plan, x, None, workspace);
    let t = sized(inner.extra, shape.bottleneck * shape.area());
    plan.tangent::<S>(0, x, v, inner.input);
    convolve(plan.level, &plan.convs[0], shape.plane(0), inner.input, false, inner.transforms, Output::Store(t));
    plan.tangent::<S>(1, inner.z1, t, inner.a1);
    convolve(plan.level, &plan.convs[1], shape.plane(1), inner.a1, false, inner.transforms, Output::Store(t));
    plan.tangent::<S>(2, inner.z2, t, inner.a2);
    convolve(plan.level, &plan.convs[2], shape.plane(2), inner.a2, false, inner.transforms, Output::Store(out));
}
leveled!(fn jvp = jvp_inner(plan: &BlockPlan, x: &[V], v: &[V], out: &mut [V], workspace: &mut Workspace));

/// Copies unbordered vectors into a bordered buffer.
#[inline(always)]
pub(crate) fn border(plane: Plane, z: &[V], out: &mut [V]) {
    for c in 0..plane.channels {
        for y in 0..plane.height {
            let (row, at) = plane.rows(c, y);
            out[row..row + plane.width].copy_from_slice(&z[at..at + plane.width]);
        }
    }
}

#[inline(always)]
fn vjp_input_inner<S: Simd>(plan: &BlockPlan, x: &[V], cotangent: &[V], out: &mut [V], workspace: &mut Workspace) {
    out.copy_from_slice(cotangent);
    pull_back::<S>(plan, x, out, 1.0, false, None, None, workspace);
}
leveled!(fn vjp_input = vjp_input_inner(plan: &BlockPlan, x: &[V], cotangent: &[V], out: &mut [V], workspace: &mut Workspace));

#[inline(always)]
fn backward_inner<S: Simd>(
    plan: &BlockPlan,
    x: &[V],
    gradient: &mut [V],
    mask: Option<DropoutMask<'_>>,
    weights: &mut [f32],
    workspace: &mut Workspace,
) {
    pull_back::<S>(plan, x, gradient, plan.shape.step, true, mask, Some(weights), workspace);
}
leveled!(fn backward = backward_inner(plan: &BlockPlan, x: &[V], gradient: &mut [V], mask: Option<DropoutMask<'_>>, weights: &mut [f32], workspace: &mut Workspace));

/// `gradient <- [gradient +] step J_g(x)^T gradient`, and the weight gradients if wanted.
#[inline(always)]
fn pull_back<S: Simd>(
    plan: &BlockPlan,
    x: &[V],
    gradient: &mut [V],
    step: f32,
    skip: bool,
    mask: Option<DropoutMask<'_>>,
    weights: Option<&mut [f32]>,
    workspace: &mut Workspace,
) {
    let shape = &plan.shape;
    let area = shape.area();
    let adjoints = plan.adjoints.as_ref().expect("a plan made for training");
    let inner = inner::<S>(plan, x, mask, workspace);
    let places = shape.places();
    // The scaled cotangent of g, unbordered (for weight gradients) and bordered (for the adjoint).
    let outer = shape.adjoint_plane(2);
    let middle = shape.adjoint_plane(1);
    let last = shape.adjoint_plane(0);
    let (image_len, middle_len) = (shape.image.channels * area, shape.bottleneck * area);
    let buffer = sized(inner.extra, image_len + middle_len + outer.len() + middle.len() + last.len());
    let (plain, rest) = buffer.split_at_mut(image_len);
    let (pulled, rest) = rest.split_at_mut(middle_len);
    let (dg, rest) = rest.split_at_mut(outer.len());
    let (d2, d1) = rest.split_at_mut(middle.len());
    for (plane, buffer) in [(outer, &mut *dg), (middle, &mut *d2), (last, &mut *d1)] {
        clear_border(plane, buffer);
    }
    for (to, from) in plain.iter_mut().zip(gradient.iter()) {
        S::load(from).mul(S::splat(step)).store(to);
    }
    border(outer, plain, dg);
    let (level, transforms) = (plan.level, inner.transforms);
    // Convolution 3, then what stands before it; z2 and z1 are overwritten by their own cotangents.
    let (z1, z2) = (inner.z1, inner.z2);
    convolve(level, &adjoints[2], outer, dg, false, transforms, Output::Store(pulled));
    plan.through_activation::<S>(2, mask, pulled, z2, middle, d2);
    let mut weights = weights;
    let mut gradient_of = |i: usize, input: &[V], cotangent: &[V]| {
        if let Some(weights) = weights.as_deref_mut() {
            let (w, b) = weights[places[2 * i].start..places[2 * i + 1].end].split_at_mut(places[2 * i].len());
            weight_gradient(level, shape.plane(i), input, cotangent, shape.channels()[i].1, shape.kernels[i], w, b);
        }
    };
    gradient_of(2, inner.a2, plain);
    gradient_of(1, inner.a1, z2);
    convolve(level, &adjoints[1], middle, d2, false, transforms, Output::Store(pulled));
    plan.through_activation::<S>(1, None, pulled, z1, last, d1);
    gradient_of(0, inner.input, z1);
    convolve(level, &adjoints[0], last, d1, false, transforms, Output::Store(plain));
    let before = plan.before(0);
    for (c, channel) in plain.chunks_exact(area).enumerate() {
        for (p, v) in channel.iter().enumerate() {
            let at = c * area + p;
            let d = before.derivative(c, S::load(&x[at]));
            let kept = if skip { S::load(&gradient[at]) } else { S::splat(0.0) };
            d.mul_add(S::load(v), kept).store(&mut gradient[at]);
        }
    }
}

impl Workspace {
    /// Buffer number `n` for `plane`, with a zero border, and the buffer for transforms.
    #[inline(always)]
    pub(crate) fn bordered(&mut self, n: usize, plane: Plane) -> (&mut [V], &mut Vec<V>) {
        (fresh(&mut self.buffers[n], plane), &mut self.transforms)
    }
}
