//! What is proved of one residual layer.

use iresnet_spectra::{Method, UpperBound};
use serde::Serialize;

use super::rescale::level;

/// One convolution of a certificate.
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

impl BlockBound {
    /// From bounds of its convolutions (name, norm, method), its BatchNorms' gains, its step size and the dropout of its
    /// training; `finite` if all weights and shifts are.
    pub(crate) fn new(
        name: &str,
        layers: Vec<(String, UpperBound, Method)>,
        gains: Vec<UpperBound>,
        step: f32,
        dropout: f64,
        finite: bool,
    ) -> Self {
        let rest = rest(step, &gains);
        let norms: Vec<UpperBound> = layers.iter().map(|(_, norm, _)| *norm).collect();
        let product = norms.iter().copied().fold(rest, UpperBound::times);
        let lipschitz = if finite { product } else { UpperBound::INFINITE };
        let level = (lipschitz.value() >= 1.0).then(|| level(&norms, rest, 1.0)).flatten();
        let excess = |norm: UpperBound| level.filter(|level| norm.value() > *level).map(|level| norm.value() / level);
        let layers = layers.into_iter().map(|(name, norm, method)| {
            let excess = excess(norm);
            LayerBound { name, norm, method, excess }
        });
        // 2^-22 covers the rounding of the factor and of its product with an activation to float32.
        let kept = 1.0 - dropout;
        let factor = (kept < 1.0).then(|| UpperBound::of_factor((1.0 + 2f64.powi(-22)) / kept));
        let lipschitz_training = gains.is_empty().then(|| factor.map_or(lipschitz, |factor| lipschitz.times(factor)));
        BlockBound { name: name.into(), layers: layers.collect(), gains, step, lipschitz, lipschitz_training }
    }

    /// Whether `Lip(h g) < 1` is proved: the condition of Theorem 1 of the paper.
    pub fn contracts(&self) -> bool {
        self.lipschitz.value() < 1.0
    }

    /// Bound of what multiplies its convolutions: step and BatchNorms; κ is 1-Lipschitz, each of the four.
    pub fn rest(&self) -> UpperBound {
        rest(self.step, &self.gains)
    }

    /// Iterations after which Picard's method is certainly within `tolerance` of a preimage, in units of the first step
    /// `||x^1 - x^0||`: the smallest `k` with `L^k / (1 - L) <= tolerance`. `None` if the block does not contract.
    pub fn iterations(&self, tolerance: f64) -> Option<usize> {
        let lipschitz = self.lipschitz.value();
        if !(self.contracts() && tolerance > 0.0) {
            return None;
        }
        let within = tolerance * (1.0 - lipschitz);
        // L = 0: the first step is the last.
        let needed = if within >= 1.0 { 0.0 } else { (within.ln() / lipschitz.ln()).ceil().max(1.0) };
        Some(needed as usize)
    }

    /// Why the proof fails, in a line.
    pub(super) fn reason(&self, finite: bool) -> String {
        let short = |layer: &LayerBound| layer.name.rsplit('.').next().unwrap_or_default().to_string();
        let blamed = self.layers.iter().filter_map(|layer| Some((layer, layer.excess?)));
        let mut parts: Vec<String> = blamed
            .map(|(l, excess)| format!("{} {:.3}, {excess:.3} times what would do", short(l), l.norm.value()))
            .collect();
        if parts.is_empty() {
            parts.extend(self.layers.iter().map(|layer| format!("{} {:.3}", short(layer), layer.norm.value())));
        }
        parts.extend(self.gains.iter().map(|gain| format!("BatchNorm {:.3}", gain.value())));
        if !finite {
            parts.push("a weight, a bias or the shift of a BatchNorm is not finite".into());
        }
        let lipschitz = self.lipschitz.value();
        format!("{}: Lip(h g) is only known to be at most {lipschitz:.3} ({})", self.name, parts.join("; "))
    }
}

fn rest(step: f32, gains: &[UpperBound]) -> UpperBound {
    gains.iter().copied().fold(UpperBound::of_factor(f64::from(step)), UpperBound::times)
}
