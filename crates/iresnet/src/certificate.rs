//! Proof, from upper bounds only, that a network is invertible.
//!
//! `Lip(h g) <= h prod ||W_i|| prod Lip(κ) prod (BatchNorm gains) = L_t` for each block; if every `L_t < 1` the inverse
//! exists everywhere, `Lip(F) <= prod (1 + L_t)` and `Lip(F^-1) <= prod 1 / (1 - L_t)`. All in evaluation mode: no
//! dropout, BatchNorm with running statistics.
//!
//! ```
//! use iresnet::certificate::Certificate;
//! use iresnet::model::{Input, ModelConfig, Norm};
//!
//! let config = ModelConfig { norm: Norm::Spectral { coeff: 0.5 }, blocks: vec![1, 1], ..ModelConfig::preset("digits")? };
//! let mut model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)?;
//! model.update_norms(100);
//! assert!(Certificate::of(&model, |_, _| {}).largest_block_lipschitz() < 0.5f64.powi(3) * 1.01);
//! // The same weights without normalisation, and too large.
//! let mut vanilla = ModelConfig { norm: Norm::None, ..config }.init(model.layout().input, 0)?;
//! vanilla.parameters_mut()[0].iter_mut().for_each(|w| *w *= 3.0);
//! println!("{}", Certificate::of(&vanilla, |_, _| {}).reasons.join("\n"));
//! assert!(!Certificate::of(&vanilla, |_, _| {}).certified);
//! # Ok::<(), iresnet::model::ConfigError>(())
//! ```

mod file;
mod finalize;
mod margin;
mod rescale;

use iresnet_kernels::BlockShape;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::{EffectiveWeights, IResNet, Layout};
use crate::spectrum::{ConvLayer, Method, UpperBound, best_bounds};

pub use file::Refused;
pub use finalize::{Finalized, NoRescaling, RescaledLayer, finalize};
pub use margin::{Margins, Prediction, certified_accuracy, predictions};
pub use rescale::{level, rescaling};

/// One layer of a certificate.
#[derive(Clone, Debug, Serialize)]
pub struct LayerBound {
    /// Its name in the network.
    pub name: String,
    /// Bound of its norm.
    pub norm: UpperBound,
    /// How it was found.
    pub method: Method,
    /// In a block that fails: by what factor the bound exceeds the largest that would do, if all layers above that level
    /// came down to it and the others stayed as they are. None where this layer is not to blame, or nothing would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess: Option<f64>,
}

/// One block of a certificate.
#[derive(Clone, Debug, Serialize)]
pub struct BlockBound {
    /// Its name in the network.
    pub name: String,
    /// Its convolutions.
    pub layers: Vec<LayerBound>,
    /// Bounds of its BatchNorms in evaluation; empty without.
    pub gains: Vec<UpperBound>,
    /// The step size h of `x + h g(x)`.
    pub step: f32,
    /// Bound of `Lip(h g)` in evaluation.
    pub lipschitz: UpperBound,
    /// The same in training, where dropout multiplies what it keeps by `1 / (1 - p)`. None with BatchNorm: the deviation
    /// of a batch has no lower bound.
    pub lipschitz_training: Option<UpperBound>,
}

/// What is proved of a network, or why nothing is.
///
/// Only [`Certificate::of`] makes one, and nothing changes it; what it says is read through [`Statement`].
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Certificate {
    statement: Statement,
    /// Geometry of the blocks: equal numbers can be other convolutions.
    #[serde(skip)]
    shapes: Vec<BlockShape>,
}

impl std::ops::Deref for Certificate {
    type Target = Statement;

    fn deref(&self) -> &Statement {
        &self.statement
    }
}

/// What a certificate says.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Statement {
    /// Whether the inverse exists everywhere.
    pub certified: bool,
    /// Bounds of every block.
    pub blocks: Vec<BlockBound>,
    /// `Lip(F)` of the trunk.
    pub lipschitz_forward: f64,
    /// `Lip(F^-1)` of the trunk, if the inverse exists.
    pub lipschitz_inverse: Option<f64>,
    /// Why the proof fails: a line a block.
    pub reasons: Vec<String>,
    /// SHA-256 of the weights in use.
    pub weights_sha256: String,
    /// Channels, height and width of the images that the proof holds for.
    pub image: [usize; 3],
}

impl Certificate {
    /// Examines the weights in use of `model`; `progress` gets layers done and layers in all.
    pub fn of(model: &IResNet, progress: impl FnMut(usize, usize) + Send) -> Self {
        let layout = model.layout();
        let weights = model.effective_weights();
        let layers = weights.layers(layout);
        let mut bounds = layers.iter().zip(best_bounds(&layers, progress));
        let (mut blocks, mut reasons) = (Vec::new(), Vec::new());
        // 2^-22 covers the rounding of the factor and of its product with an activation to float32.
        let kept = 1.0 - model.config().dropout;
        let dropout = (kept < 1.0).then(|| UpperBound::proved((1.0 + 2f64.powi(-22)) / kept));
        for (block, effective) in layout.blocks().zip(&weights.blocks) {
            let bound = |(layer, (norm, method)): (&ConvLayer<'_>, _)| LayerBound {
                name: layer.name.clone(),
                norm,
                method,
                excess: None,
            };
            let mut layers: Vec<LayerBound> = bounds.by_ref().take(block.convs.len()).map(bound).collect();
            assert_eq!(layers.len(), block.convs.len(), "a bound of every convolution");
            let gains: Vec<UpperBound> =
                effective.affine.iter().flatten().map(|map| UpperBound::diagonal(&map.scale)).collect();
            let step = block.shape.step;
            let rest = rest(step, &gains);
            let norms: Vec<UpperBound> = layers.iter().map(|l| l.norm).collect();
            // Constants have no part in the norms, but a branch that is infinite everywhere has no inverse either.
            let offsets = effective.affine.iter().flatten().flat_map(|map| &map.shift).chain(&effective.weights);
            let finite = offsets.copied().all(f32::is_finite);
            let product = norms.iter().copied().fold(rest, UpperBound::times);
            let lipschitz = if finite { product } else { UpperBound::proved(f64::INFINITY) };
            if lipschitz.value() >= 1.0
                && let Some(level) = level(&norms, rest, 1.0)
            {
                for layer in layers.iter_mut().filter(|l| l.norm.value() > level) {
                    layer.excess = Some(layer.norm.value() / level);
                }
            }
            let lipschitz_training =
                gains.is_empty().then(|| dropout.map_or(lipschitz, |factor| lipschitz.times(factor)));
            let bound = BlockBound { name: block.name.clone(), layers, gains, step, lipschitz, lipschitz_training };
            if !bound.contracts() {
                reasons.push(reason(&bound, finite));
            }
            blocks.push(bound);
        }
        let certified = reasons.is_empty();
        let up = |product: f64| product * (1.0 + 4.0 * blocks.len() as f64 * f64::EPSILON);
        let statement = Statement {
            certified,
            lipschitz_forward: trunk_lipschitz(&blocks).value(),
            lipschitz_inverse: certified
                .then(|| up(blocks.iter().map(|b| 1.0 / (1.0 - b.lipschitz.value())).product())),
            reasons,
            weights_sha256: checksum(layout, &weights),
            image: [layout.input.channels, layout.input.height, layout.input.width],
            blocks,
        };
        Certificate { statement, shapes: layout.blocks().map(|block| block.shape).collect() }
    }

    /// Iterations after which Picard's method is certainly within `tolerance` of a block's preimage, block by block:
    /// the smallest `k` with `L^k / (1 - L) <= tolerance`, in units of the first step `||x^1 - x^0||`. `None` for
    /// blocks that do not contract.
    pub fn iterations(&self, tolerance: f64) -> Vec<Option<usize>> {
        self.blocks.iter().map(|block| block.iterations(tolerance)).collect()
    }

    /// Bound of `Lip(F)` for [`Margins`].
    pub fn trunk_lipschitz(&self) -> UpperBound {
        trunk_lipschitz(&self.blocks)
    }

    /// Largest bound of `Lip(h g)` among the blocks.
    pub fn largest_block_lipschitz(&self) -> f64 {
        self.blocks.iter().map(|b| b.lipschitz.value()).fold(0.0, f64::max)
    }

    /// [`Certificate::block_lipschitz`] where every block is proved to contract: what a solver may count on.
    pub fn contractions(&self, model: &IResNet) -> Option<Vec<f64>> {
        if self.certified { self.block_lipschitz(model) } else { None }
    }

    /// Bounds of `Lip(h g)` of every block, for solvers.
    ///
    /// Only for the weights that were examined: a certificate of others gives nothing.
    pub fn block_lipschitz(&self, model: &IResNet) -> Option<Vec<f64>> {
        let input = model.layout().input;
        let fits = self.weights_sha256 == checksum(model.layout(), &model.effective_weights())
            && self.image == [input.channels, input.height, input.width]
            && model.layout().blocks().map(|block| block.shape).eq(self.shapes.iter().copied());
        fits.then(|| self.blocks.iter().map(|b| b.lipschitz.value()).collect())
    }
}

impl BlockBound {
    /// Whether `Lip(h g) < 1` is proved.
    pub fn contracts(&self) -> bool {
        self.lipschitz.value() < 1.0
    }

    fn iterations(&self, tolerance: f64) -> Option<usize> {
        let lipschitz = self.lipschitz.value();
        if !(self.contracts() && tolerance > 0.0) {
            return None;
        }
        let within = tolerance * (1.0 - lipschitz);
        // L = 0: the first step is the last.
        let needed = if within >= 1.0 { 0.0 } else { (within.ln() / lipschitz.ln()).ceil().max(1.0) };
        Some(needed as usize)
    }
}

/// `prod (1 + L_t)`, rounded outwards.
fn trunk_lipschitz(blocks: &[BlockBound]) -> UpperBound {
    let one = UpperBound::proved(1.0);
    blocks.iter().fold(one, |product, b| product.times(UpperBound::proved((1.0 + b.lipschitz.value()).next_up())))
}

/// Bound of what multiplies a block's convolutions: step and BatchNorms; κ is 1-Lipschitz, each of the four.
fn rest(step: f32, gains: &[UpperBound]) -> UpperBound {
    gains.iter().copied().fold(UpperBound::proved(f64::from(step)), UpperBound::times)
}

fn reason(block: &BlockBound, finite: bool) -> String {
    let short = |layer: &LayerBound| layer.name.rsplit('.').next().unwrap_or_default().to_string();
    let blamed = block.layers.iter().filter_map(|layer| Some((layer, layer.excess?)));
    let mut parts: Vec<String> = blamed
        .map(|(l, excess)| format!("{} {:.3}, {excess:.3} times what would do", short(l), l.norm.value()))
        .collect();
    if parts.is_empty() {
        parts.extend(block.layers.iter().map(|layer| format!("{} {:.3}", short(layer), layer.norm.value())));
    }
    parts.extend(block.gains.iter().map(|gain| format!("BatchNorm {:.3}", gain.value())));
    if !finite {
        parts.push("a weight, a bias or the shift of a BatchNorm is not finite".into());
    }
    let lipschitz = block.lipschitz.value();
    format!("{}: Lip(h g) is only known to be at most {lipschitz:.3} ({})", block.name, parts.join("; "))
}

/// SHA-256 of the weights in use, of what stands before the activations, and of the step sizes.
fn checksum(layout: &Layout, weights: &EffectiveWeights) -> String {
    let mut hash = Sha256::new();
    for (place, block) in layout.blocks().zip(&weights.blocks) {
        hash.update(place.shape.step.to_le_bytes());
        let affine = block.affine.iter().flatten().flat_map(|map| map.scale.iter().chain(&map.shift));
        for value in block.weights.iter().chain(affine) {
            hash.update(value.to_le_bytes());
        }
    }
    crate::bytes::hex(&hash.finalize())
}
