//! The certificate: what is proved of a chain, or why nothing is.

use iresnet_spectra::{Progress, UpperBound, best_bounds};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::block::BlockBound;
use super::layer::{Layer, Proved};
use crate::ImageShape;
use crate::bijection::Bijection;
use crate::chain::Chain;

/// What is proved of a network, or why nothing is.
///
/// Only [`examine`] makes one, and nothing changes it; what it says is read through [`Statement`].
///
/// ```compile_fail,E0594
/// fn forge(certificate: &mut iresnet_flow::proof::Certificate) {
///     certificate.certified = true;
/// }
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Certificate {
    statement: Statement,
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

/// Examines the layers of `chain`, which takes images of shape `image` (before any padding); `dropout` is the probability
/// in training.
///
/// Besides the certificate, the chain comes back with the constants that were proved in it: its layers rely on them in
/// inverses, tolerances and error bars.
pub fn examine(
    chain: &Chain<Box<dyn Layer>>,
    image: ImageShape,
    dropout: f64,
    progress: Progress<'_>,
) -> (Certificate, Chain<Box<dyn Layer>>) {
    let convolutions: Vec<_> = chain.layers().iter().flat_map(|layer| layer.convolutions()).collect();
    let mut norms = best_bounds(&convolutions, progress).into_iter();
    let (mut blocks, mut reasons, mut layers) = (Vec::new(), Vec::new(), Vec::new());
    let mut others = Vec::new();
    for (i, layer) in chain.layers().iter().enumerate() {
        let own = norms.by_ref().take(layer.convolutions().len()).collect();
        let Some(Proved { bound, finite, layer: proved }) = layer.prove(own, dropout) else {
            let bounds = Bijection::<f64>::bounds(layer);
            if ![bounds.forward, bounds.inverse].iter().all(|bound| bound.is_some_and(f64::is_finite)) {
                reasons.push(format!("layer {} has no finite Lipschitz bound both ways", i + 1));
            }
            others.push(bounds);
            layers.push(layer.boxed());
            continue;
        };
        if !bound.contracts() {
            reasons.push(bound.reason(finite));
        }
        blocks.push(bound);
        layers.push(proved);
    }
    let certified = reasons.is_empty();
    let others = others.into_iter().fold(crate::Bounds::ISOMETRY, crate::Bounds::then);
    let up = |product: f64| product * (1.0 + 4.0 * blocks.len() as f64 * f64::EPSILON);
    let inverse = || up(blocks.iter().map(|b| 1.0 / (1.0 - b.lipschitz.value())).product());
    let statement = Statement {
        certified,
        lipschitz_forward: forward(&blocks, others.forward).value(),
        lipschitz_inverse: certified.then(|| (UpperBound::of_factor(inverse()), others.inverse)).and_then(
            |(blocks, others)| match others? {
                1.0 => Some(blocks.value()),
                factor => Some(blocks.times(UpperBound::of_factor(factor)).value()),
            },
        ),
        reasons,
        weights_sha256: checksum(chain),
        image: [image.channels, image.height, image.width],
        blocks,
    };
    (Certificate { statement }, Chain::new::<f32>(layers))
}

/// `prod (1 + L_t)` and the factor of other layers, rounded outwards.
fn forward(blocks: &[BlockBound], others: Option<f64>) -> UpperBound {
    let product =
        blocks.iter().fold(UpperBound::of_factor(1.0), |product, b| product.times(b.lipschitz.plus_identity()));
    match others {
        Some(1.0) => product,
        Some(factor) => product.times(UpperBound::of_factor(factor)),
        None => UpperBound::INFINITE,
    }
}

impl Certificate {
    /// Iterations after which Picard's method is certainly within `tolerance` of each block's preimage
    /// ([`BlockBound::iterations`]).
    pub fn iterations(&self, tolerance: f64) -> Vec<Option<usize>> {
        self.blocks.iter().map(|block| block.iterations(tolerance)).collect()
    }

    /// Largest bound of `Lip(h g)` among the blocks.
    pub fn largest_block_lipschitz(&self) -> f64 {
        self.blocks.iter().map(|b| b.lipschitz.value()).fold(0.0, f64::max)
    }
}

/// SHA-256 of the weights in use, of what stands before the activations, and of the step sizes.
pub(super) fn checksum(chain: &Chain<Box<dyn Layer>>) -> String {
    let mut hash = Sha256::new();
    chain.layers().iter().for_each(|layer| layer.hash(&mut hash));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
