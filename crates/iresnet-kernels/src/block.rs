//! One residual block `y = x + h g(x)`, `g = W3 κ(W2 κ(W1 κ(x) + b1) + b2) + b3`: forward, fixed-point step, products
//! with the Jacobian and its transpose, weight gradients.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::conv::{PackedConv, Plane, weight_gradient};
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
        Plane { channels, height, width, border: self.kernels[i] / 2 }
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
}

/// `len` vectors of a buffer that only grows, so that blocks of all shapes share it; contents are whatever was there.
fn sized(buffer: &mut Vec<V>, len: usize) -> &mut [V] {
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
        assert_eq!(weights.len(), shape.num_weights(), "weights of {shape:?}");
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

    /// What stands before convolution `i`: the affine map if there is one, κ if there is one.
    #[inline(always)]
    fn prepare<S: Simd>(&self, i: usize, channel: usize, z: S) -> S {
        let z = self.affine_of(i, channel, z);
        if i > 0 || self.shape.activate_input { self.shape.activation.apply(z) } else { z }
    }

    #[inline(always)]
    fn affine_of<S: Simd>(&self, i: usize, channel: usize, z: S) -> S {
        match &self.affine {
            Some(maps) => z.mul_add(S::splat(maps[i].0[channel]), S::splat(maps[i].1[channel])),
            None => z,
        }
    }

    /// Derivative of [`Self::prepare`] at `z`.
    #[inline(always)]
    fn prepare_derivative<S: Simd>(&self, i: usize, channel: usize, z: S) -> S {
        let at = self.affine_of(i, channel, z);
        let derivative = match i > 0 || self.shape.activate_input {
            true => self.shape.activation.derivative(at),
            false => S::splat(1.0),
        };
        match &self.affine {
            Some(maps) => derivative.mul(S::splat(maps[i].0[channel])),
            None => derivative,
        }
    }

    /// Fills the bordered input of convolution `i` from unbordered `z`.
    #[inline(always)]
    fn fill<S: Simd>(&self, i: usize, z: &[V], mask: Option<DropoutMask<'_>>, plane: Plane, out: &mut [V]) {
        each_row(plane, |c, row, at| {
            for x in 0..plane.width {
                let mut value = self.prepare(i, c, S::load(&z[at + x]));
                if let Some(mask) = mask {
                    value = masked(value, mask.bits[at + x], mask.scale);
                }
                value.store(&mut out[row + x]);
            }
        });
    }
}

/// Calls `visit(channel, bordered row start, unbordered row start)` for every row.
#[inline(always)]
pub(crate) fn each_row(plane: Plane, mut visit: impl FnMut(usize, usize, usize)) {
    for c in 0..plane.channels {
        for y in 0..plane.height {
            visit(c, plane.row(c, y), (c * plane.height + y) * plane.width);
        }
    }
}

/// `value * scale` where the bit is set, else 0.
#[inline(always)]
pub(crate) fn masked<S: Simd>(value: S, bits: u16, scale: f32) -> S {
    value.mul(S::load(&std::array::from_fn(|l| if bits >> l & 1 == 1 { scale } else { 0.0 })))
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
}

#[inline(always)]
fn inner<'w, S: Simd>(
    plan: &BlockPlan,
    x: &[V],
    mask: Option<DropoutMask<'_>>,
    workspace: &'w mut Workspace,
) -> Inner<'w> {
    let shape = &plan.shape;
    let (area, middle) = (shape.area(), shape.bottleneck * shape.area());
    let [input, z1, a1, z2, a2, extra] = &mut workspace.buffers;
    let planes = [0, 1, 2].map(|i| shape.plane(i));
    let (input, a1, a2) = (fresh(input, planes[0]), fresh(a1, planes[1]), fresh(a2, planes[2]));
    let (z1, z2) = (sized(z1, middle), sized(z2, middle));
    let width = shape.image.width;
    plan.fill::<S>(0, x, None, planes[0], input);
    plan.convs[0].run(planes[0], input, true, |c, y, x, v: S| v.store(&mut z1[c * area + y * width + x]));
    plan.fill::<S>(1, z1, None, planes[1], a1);
    plan.convs[1].run(planes[1], a1, true, |c, y, x, v: S| v.store(&mut z2[c * area + y * width + x]));
    plan.fill::<S>(2, z2, mask, planes[2], a2);
    Inner { input, z1, a1, z2, a2, extra }
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
        let len = channel.len();
        channel[..b * stride].fill([0.0; LANES]);
        channel[len - b * stride..].fill([0.0; LANES]);
        for row in channel.chunks_exact_mut(stride) {
            row[..b].fill([0.0; LANES]);
            row[stride - b..].fill([0.0; LANES]);
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
    let (area, width, step) = (plan.shape.area(), plan.shape.image.width, plan.shape.step);
    let inner = inner::<S>(plan, x, mask, workspace);
    plan.convs[2].run(plan.shape.plane(2), inner.a2, true, |c, y, p, v: S| {
        let to = &mut x[c * area + y * width + p];
        v.mul_add(S::splat(step), S::load(to)).store(to);
    });
}
leveled!(fn forward_in_place = forward_in_place_inner(plan: &BlockPlan, x: &mut [V], mask: Option<DropoutMask<'_>>, workspace: &mut Workspace));

#[inline(always)]
fn branch_inner<S: Simd>(plan: &BlockPlan, x: &[V], g: &mut [V], workspace: &mut Workspace) {
    let (area, width) = (plan.shape.area(), plan.shape.image.width);
    let inner = inner::<S>(plan, x, None, workspace);
    plan.convs[2].run(plan.shape.plane(2), inner.a2, true, |c, y, p, v: S| v.store(&mut g[c * area + y * width + p]));
}
leveled!(fn branch = branch_inner(plan: &BlockPlan, x: &[V], g: &mut [V], workspace: &mut Workspace));

#[inline(always)]
fn fixed_point_inner<S: Simd>(plan: &BlockPlan, target: &[V], x: &mut [V], workspace: &mut Workspace) -> V {
    let (area, width, step) = (plan.shape.area(), plan.shape.image.width, plan.shape.step);
    let inner = inner::<S>(plan, x, None, workspace);
    // One sum a row of four keeps float32's rounding below what the stopping rules need.
    let mut sums = [S::splat(0.0); 4];
    plan.convs[2].run(plan.shape.plane(2), inner.a2, true, |c, y, p, v: S| {
        let at = c * area + y * width + p;
        let new = v.mul_add(S::splat(-step), S::load(&target[at]));
        let moved = new.sub(S::load(&x[at]));
        sums[p % 4] = moved.mul_add(moved, sums[p % 4]);
        new.store(&mut x[at]);
    });
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).array()
}
leveled!(fn fixed_point = fixed_point_inner(plan: &BlockPlan, target: &[V], x: &mut [V], workspace: &mut Workspace) -> V);

#[inline(always)]
fn jvp_inner<S: Simd>(plan: &BlockPlan, x: &[V], v: &[V], out: &mut [V], workspace: &mut Workspace) {
    let shape = &plan.shape;
    let (area, width) = (shape.area(), shape.image.width);
    let inner = inner::<S>(plan, x, None, workspace);
    let tangent = |i: usize, at: &[V], v: &[V], into: &mut [V]| {
        let plane = shape.plane(i);
        each_row(plane, |c, row, start| {
            for p in 0..width {
                let d: S = plan.prepare_derivative(i, c, S::load(&at[start + p]));
                d.mul(S::load(&v[start + p])).store(&mut into[row + p]);
            }
        });
    };
    let t = sized(inner.extra, shape.bottleneck * area);
    tangent(0, x, v, inner.input);
    plan.convs[0].run(shape.plane(0), inner.input, false, |c, y, p, v: S| v.store(&mut t[c * area + y * width + p]));
    tangent(1, inner.z1, t, inner.a1);
    plan.convs[1].run(shape.plane(1), inner.a1, false, |c, y, p, v: S| v.store(&mut t[c * area + y * width + p]));
    tangent(2, inner.z2, t, inner.a2);
    plan.convs[2].run(shape.plane(2), inner.a2, false, |c, y, p, v: S| v.store(&mut out[c * area + y * width + p]));
}
leveled!(fn jvp = jvp_inner(plan: &BlockPlan, x: &[V], v: &[V], out: &mut [V], workspace: &mut Workspace));

/// Copies unbordered vectors, times `factor`, into a bordered buffer.
#[inline(always)]
pub(crate) fn border<S: Simd>(plane: Plane, z: &[V], factor: f32, out: &mut [V]) {
    each_row(plane, |_, row, at| {
        for x in 0..plane.width {
            S::load(&z[at + x]).mul(S::splat(factor)).store(&mut out[row + x]);
        }
    });
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
    let (area, width) = (shape.area(), shape.image.width);
    let adjoints = plan.adjoints.as_ref().expect("a plan made for training");
    let inner = inner::<S>(plan, x, mask, workspace);
    let places = shape.places();
    // The scaled cotangent of g, unbordered (for weight gradients) and bordered (for the adjoint).
    let outer = shape.adjoint_plane(2);
    let middle = shape.adjoint_plane(1);
    let last = shape.adjoint_plane(0);
    let image_len = shape.image.channels * area;
    let buffer = sized(inner.extra, image_len + outer.len() + middle.len() + last.len());
    let (plain, rest) = buffer.split_at_mut(image_len);
    let (dg, rest) = rest.split_at_mut(outer.len());
    let (d2, d1) = rest.split_at_mut(middle.len());
    for (plane, buffer) in [(outer, &mut *dg), (middle, &mut *d2), (last, &mut *d1)] {
        clear_border(plane, buffer);
    }
    for (to, from) in plain.iter_mut().zip(gradient.iter()) {
        S::load(from).mul(S::splat(step)).store(to);
    }
    border::<S>(outer, plain, 1.0, dg);
    // Convolution 3, then what stands before it; z2 is overwritten by its own cotangent.
    let (z1, z2) = (inner.z1, inner.z2);
    adjoints[2].run(outer, dg, false, |c, y, p, mut v: S| {
        let at = c * area + y * width + p;
        if let Some(mask) = mask {
            v = masked(v, mask.bits[at], mask.scale);
        }
        let d: S = plan.prepare_derivative(2, c, S::load(&z2[at]));
        d.mul(v).store(&mut z2[at]);
    });
    border::<S>(middle, z2, 1.0, d2);
    if let Some(weights) = weights {
        let (head, tail) = weights.split_at_mut(places[4].start);
        let (w3, b3) = tail.split_at_mut(places[4].len());
        weight_gradient::<S>(shape.plane(2), inner.a2, plain, shape.image.channels, shape.kernels[2], w3, b3);
        let (head, tail) = head.split_at_mut(places[2].start);
        let (w2, b2) = tail.split_at_mut(places[2].len());
        weight_gradient::<S>(shape.plane(1), inner.a1, z2, shape.bottleneck, shape.kernels[1], w2, b2);
        pull_to_first::<S>(plan, adjoints, middle, d2, z1);
        let (w1, b1) = head.split_at_mut(places[0].len());
        weight_gradient::<S>(shape.plane(0), inner.input, z1, shape.bottleneck, shape.kernels[0], w1, b1);
    } else {
        pull_to_first::<S>(plan, adjoints, middle, d2, z1);
    }
    border::<S>(last, z1, 1.0, d1);
    adjoints[0].run(last, d1, false, |c, y, p, v: S| {
        let at = c * area + y * width + p;
        let d: S = plan.prepare_derivative(0, c, S::load(&x[at]));
        let kept = if skip { S::load(&gradient[at]) } else { S::splat(0.0) };
        d.mul_add(v, kept).store(&mut gradient[at]);
    });
}

/// Convolution 2 and what stands before it; z1 is overwritten by its own cotangent.
#[inline(always)]
fn pull_to_first<S: Simd>(plan: &BlockPlan, adjoints: &[PackedConv; 3], plane: Plane, d2: &[V], z1: &mut [V]) {
    let (area, width) = (plan.shape.area(), plan.shape.image.width);
    adjoints[1].run(plane, d2, false, |c, y, p, v: S| {
        let at = c * area + y * width + p;
        let d: S = plan.prepare_derivative(1, c, S::load(&z1[at]));
        d.mul(v).store(&mut z1[at]);
    });
}

impl Workspace {
    /// `len` vectors of buffer number `n`.
    pub(crate) fn buffer(&mut self, n: usize, len: usize) -> &mut [V] {
        sized(&mut self.buffers[n], len)
    }
}
