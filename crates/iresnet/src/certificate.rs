//! Proof, from upper bounds only, that a network is invertible.
//!
//! `Lip(h g) <= h prod ||W_i|| prod Lip(κ) prod (BatchNorm gains) = L_t` for each block; if every `L_t < 1` the inverse
//! exists everywhere, `Lip(F) <= prod (1 + L_t)` and `Lip(F^-1) <= prod 1 / (1 - L_t)`. All in evaluation mode: no
//! dropout, BatchNorm with running statistics.

mod margin;
mod rescale;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::{EffectiveWeights, IResNet, Layout};
use crate::spectrum::{Method, UpperBound};

pub use margin::{Margins, Prediction, certified_accuracy};
pub use rescale::rescaling;

/// One layer of a certificate.
#[derive(Clone, Debug, Serialize)]
pub struct LayerBound {
    /// Its name in the network.
    pub name: String,
    /// Bound of its norm.
    pub norm: UpperBound,
    /// How it was found.
    pub method: Method,
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
    /// Bound of `Lip(h g)`.
    pub lipschitz: UpperBound,
}

/// What is proved of a network, or why nothing is.
///
/// Only [`Certificate::of`] makes one.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Certificate {
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
    pub fn of(model: &IResNet, mut progress: impl FnMut(usize, usize)) -> Self {
        let layout = model.layout();
        let weights = model.effective_weights();
        let total = 3 * layout.num_blocks();
        let mut done = 0;
        let mut blocks = Vec::new();
        for (block, effective) in layout.blocks().zip(&weights.blocks) {
            let layers: Vec<LayerBound> = effective
                .layers(block)
                .iter()
                .map(|layer| {
                    let (norm, method) = layer.best_bound();
                    done += 1;
                    progress(done, total);
                    LayerBound { name: layer.name.clone(), norm, method }
                })
                .collect();
            let gains: Vec<UpperBound> =
                effective.affine.iter().flatten().map(|map| UpperBound::diagonal(&map.scale)).collect();
            // κ is 1-Lipschitz, each of the four.
            let step = UpperBound::proved(f64::from(block.shape.step));
            let lipschitz = layers.iter().map(|l| l.norm).chain(gains.iter().copied()).fold(step, UpperBound::times);
            blocks.push(BlockBound { name: block.name.clone(), layers, gains, lipschitz });
        }
        let reasons: Vec<String> = blocks.iter().filter(|b| !b.contracts()).map(reason).collect();
        let certified = reasons.is_empty();
        let up = |product: f64| product * (1.0 + 4.0 * blocks.len() as f64 * f64::EPSILON);
        Certificate {
            certified,
            lipschitz_forward: trunk_lipschitz(&blocks).value(),
            lipschitz_inverse: certified
                .then(|| up(blocks.iter().map(|b| 1.0 / (1.0 - b.lipschitz.value())).product())),
            reasons,
            weights_sha256: checksum(layout, &weights),
            image: [layout.input.channels, layout.input.height, layout.input.width],
            blocks,
        }
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
            && self.image == [input.channels, input.height, input.width];
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

fn reason(block: &BlockBound) -> String {
    let mut parts: Vec<String> = block.layers.iter().map(|l| format!("{} {:.3}", l.name, l.norm.value())).collect();
    parts.extend(block.gains.iter().map(|g| format!("BatchNorm {:.3}", g.value())));
    format!("{}: Lip(g) is only known to be at most {:.3} ({})", block.name, block.lipschitz.value(), parts.join(", "))
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
