//! The paper's branch, `h g(x)` with `g = W3 κ(W2 κ(W1 κ(x)))` (section 4, appendix A): three convolutions with an
//! activation, and perhaps a BatchNorm in evaluation, before each.

use std::sync::{Arc, OnceLock};

use iresnet_kernels::{Affine, BlockPlan, BlockShape, PreciseBlock, Purpose, with_workspace};
use iresnet_spectra::{ConvLayer, Method, UpperBound};
use sha2::{Digest, Sha256};

use crate::batch::{Batch, UP, lengths};
use crate::layers::Residual;
use crate::proof::{BlockBound, Layer, Proved};
use crate::solve::Branch;
use crate::{ImageShape, LANES};

/// A per-channel affine map `z -> scale z + shift`: a BatchNorm in evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelAffine {
    /// Scales, one a channel.
    pub scale: Vec<f32>,
    /// Shifts, one a channel.
    pub shift: Vec<f32>,
}

/// A branch with its kernels prepared. Copies share them.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    shared: Arc<Shared>,
    /// The proven bound of `Lip(h g)`, once there is one.
    lipschitz: Option<f64>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    plan: BlockPlan,
    /// The same with transposed kernels, made when they are asked for.
    transposed: OnceLock<BlockPlan>,
    /// The same in float64.
    precise: PreciseBlock,
    weights: Arc<[f32]>,
    affine: Option<[ChannelAffine; 3]>,
}

fn affine(maps: &Option<[ChannelAffine; 3]>) -> Option<[Affine<'_>; 3]> {
    maps.as_ref().map(|maps| maps.each_ref().map(|map| Affine { scale: &map.scale, shift: &map.shift }))
}

impl Bottleneck {
    /// The branch of these weights in use: `w1, b1, w2, b2, w3, b3` in PyTorch's layouts, flat, and what stands before the
    /// three activations.
    ///
    /// # Panics
    /// If the lengths do not fit `shape`.
    pub fn new(
        name: impl Into<String>,
        shape: &BlockShape,
        weights: Vec<f32>,
        maps: Option<[ChannelAffine; 3]>,
    ) -> Self {
        let weights: Arc<[f32]> = weights.into();
        let shared = Shared {
            name: name.into(),
            plan: BlockPlan::new(shape, &weights, affine(&maps), Purpose::Inference),
            transposed: OnceLock::new(),
            precise: PreciseBlock::new(shape, weights.clone(), affine(&maps)),
            weights,
            affine: maps,
        };
        Bottleneck { shared: Arc::new(shared), lipschitz: None }
    }

    /// Its geometry.
    pub fn block_shape(&self) -> &BlockShape {
        self.shared.plan.shape()
    }

    /// The weights in use, flat.
    pub fn weights(&self) -> &[f32] {
        &self.shared.weights
    }

    fn plan(&self) -> &BlockPlan {
        &self.shared.plan
    }

    /// Multiplies by h.
    fn stepped(&self, out: &mut [f32]) {
        let step = self.block_shape().step;
        if step != 1.0 {
            out.iter_mut().for_each(|g| *g *= step);
        }
    }
}

impl Branch<f32> for Bottleneck {
    fn shape(&self) -> ImageShape {
        self.block_shape().image
    }

    fn value(&self, x: &[f32], out: &mut [f32]) {
        with_workspace(|workspace| self.plan().branch_pack(x, out, workspace));
        self.stepped(out);
    }

    fn lipschitz(&self) -> Option<f64> {
        self.lipschitz
    }

    fn offset_scale(&self) -> f64 {
        self.shared.precise.magnitude(0.0)
    }

    fn is_refuted(&self, y: &[f32], x: &[f32]) -> bool {
        self.lipschitz.is_some_and(|lipschitz| expands(&self.shared.precise, y, x, lipschitz))
    }

    fn add_to(&self, x: &mut [f32]) {
        with_workspace(|workspace| self.plan().forward_pack(x, workspace));
    }

    fn fixed_point(&self, y: &[f32], x: &mut [f32]) -> [f64; LANES] {
        let squares = with_workspace(|workspace| self.plan().fixed_point_pack(y, x, None, None, workspace));
        squares.map(|square| f64::from(square).sqrt())
    }

    fn jvp(&self, x: &[f32], v: &[f32], out: &mut [f32]) {
        with_workspace(|workspace| self.plan().jvp_pack(x, v, out, workspace));
        self.stepped(out);
    }

    fn vjp(&self, x: &[f32], w: &[f32], out: &mut [f32]) {
        let Shared { plan, weights, affine: maps, transposed, .. } = &*self.shared;
        let plan = transposed.get_or_init(|| BlockPlan::new(plan.shape(), weights, affine(maps), Purpose::Training));
        with_workspace(|workspace| plan.vjp_input_pack(x, w, out, workspace));
        self.stepped(out);
    }
}

impl Branch<f64> for Bottleneck {
    fn shape(&self) -> ImageShape {
        self.block_shape().image
    }

    fn value(&self, x: &[f64], out: &mut [f64]) {
        self.shared.precise.branch(x, out);
    }

    fn lipschitz(&self) -> Option<f64> {
        self.lipschitz
    }

    fn offset_scale(&self) -> f64 {
        self.shared.precise.magnitude(0.0)
    }

    fn coarse(&self) -> Option<&dyn Branch<f32>> {
        Some(self)
    }

    fn jvp(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        self.shared.precise.branch_jvp(x, v, out);
    }

    fn vjp(&self, x: &[f64], w: &[f64], out: &mut [f64]) {
        self.shared.precise.branch_vjp(x, w, out);
    }
}

/// Whether `Lip(h g) > lipschitz` for certain, from the next two points of the iteration `x <- y - h g(x)`.
fn expands(block: &PreciseBlock, y: &[f32], x: &[f32], lipschitz: f64) -> bool {
    let packed = |sample: &[f32]| Batch::pack(sample, crate::vector(sample.len())).cast::<f64>().into_packs();
    let branch = |x: &[f64]| {
        let mut g = vec![0.0; x.len()];
        block.branch(x, &mut g);
        g
    };
    // One sample, in the first lane.
    let apart = |a: &[f64], b: &[f64]| lengths(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>())[0];
    let rounding = |x: &[f64]| block.rounding(lengths(x)[0] * UP);
    let a = packed(x);
    let at_a = branch(&a);
    let b: Vec<f64> = packed(y).iter().zip(&at_a).map(|(y, g)| y - g).collect();
    let at_b = branch(&b);
    apart(&at_a, &at_b) > (lipschitz * apart(&a, &b) * UP + rounding(&a) + rounding(&b)) * UP
}

impl Layer for Residual<Bottleneck> {
    /// The value rounds in float64: after a layer by at most `(1 + L) E + e`, where `E` came in and `e` is what evaluating
    /// the layer at the values at hand can be off by ([`PreciseBlock::rounding`]).
    fn forward_enclosed(&self, x: Batch<f64>, errors: &mut [f64]) -> Batch<f64> {
        let before = x.lengths();
        let y = crate::Bijection::<f64>::forward(self, x);
        let lipschitz = self.branch.lipschitz.unwrap_or(f64::INFINITY);
        for ((error, before), after) in errors.iter_mut().zip(before).zip(y.lengths()) {
            let own = self.branch.shared.precise.rounding(before * UP) + 0.5 * f64::EPSILON * after * UP;
            *error = ((1.0 + lipschitz) * *error + own) * UP;
        }
        y
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn convolutions(&self) -> Vec<ConvLayer<'_>> {
        let Shared { name, plan, weights, .. } = &*self.branch.shared;
        let (shape, places) = (plan.shape(), plan.shape().places());
        let layer = |i: usize| {
            let (in_channels, out_channels) = shape.channels()[i];
            ConvLayer {
                name: format!("{name}.conv{}", i + 1),
                weight: &weights[places[2 * i].clone()],
                out_channels,
                in_channels,
                kernel: shape.kernels[i],
                height: shape.image.height,
                width: shape.image.width,
            }
        };
        vec![layer(0), layer(1), layer(2)]
    }

    fn prove(&self, norms: Vec<(UpperBound, Method)>, dropout: f64) -> Option<Proved> {
        let Shared { name, plan, weights, affine, .. } = &*self.branch.shared;
        let gains: Vec<UpperBound> = affine.iter().flatten().map(|map| UpperBound::diagonal(&map.scale)).collect();
        // Constants have no part in the norms, but a branch that is infinite everywhere has no inverse either.
        let offsets = affine.iter().flatten().flat_map(|map| &map.shift).chain(weights.iter());
        let finite = offsets.copied().all(f32::is_finite);
        let names = self.convolutions().into_iter().map(|layer| layer.name);
        let layers = names.zip(norms).map(|(name, (norm, method))| (name, norm, method)).collect();
        let bound = BlockBound::new(name, layers, gains, plan.shape().step, dropout, finite);
        let lipschitz = bound.contracts().then(|| bound.lipschitz.value());
        let branch = Bottleneck { shared: self.branch.shared.clone(), lipschitz };
        Some(Proved { bound, finite, layer: Box::new(Residual::new(branch)) })
    }

    fn hash(&self, hash: &mut Sha256) {
        let Shared { plan, weights, affine, .. } = &*self.branch.shared;
        hash.update(plan.shape().step.to_le_bytes());
        let maps = affine.iter().flatten().flat_map(|map| map.scale.iter().chain(&map.shift));
        weights.iter().chain(maps).for_each(|value| hash.update(value.to_le_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solve::{Picard, Stop, solve};

    /// A step that is longer than a constant allows is looked at in float64 before the constant is called wrong.
    #[test]
    fn constants_that_are_too_small_are_refuted_and_true_ones_are_not() {
        let image = ImageShape { channels: 4, height: 4, width: 4 };
        let shape = BlockShape::paper(image, 2);
        let weights: Vec<f32> = (0..shape.num_weights()).map(|i| ((i * 37 % 101) as f32 - 50.0) * 4e-3).collect();
        let branch = |lipschitz| Bottleneck {
            lipschitz: Some(lipschitz),
            ..Bottleneck::new("b", &shape, weights.clone(), None)
        };
        let y: Vec<f32> = (0..20 * image.len()).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
        let y = Batch::pack(&y, image);
        let stop = Stop { tolerance: Some(0.0), max_iterations: 100 };
        let found = solve::<f32>(&branch(1e-4), &y, &Picard, stop).unwrap_err();
        assert!(found.lipschitz == 1e-4 && found.step > found.allowed, "{found}");
        let proved = Residual::new(Bottleneck::new("b", &shape, weights.clone(), None));
        let (certificate, _) = crate::proof::examine(
            &crate::Chain::new::<f32>(vec![Box::new(proved) as Box<dyn Layer>]),
            image,
            0.0,
            None,
        );
        assert!(certificate.certified, "{:?}", certificate.reasons);
        solve::<f32>(&branch(certificate.largest_block_lipschitz()), &y, &Picard, stop).unwrap();
    }
}
