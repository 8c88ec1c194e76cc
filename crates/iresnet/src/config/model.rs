//! What a network is, as data: the architecture of i-ResNets and its named presets.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// Injective padding: how many zero channels join the image's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Padding {
    /// Channels grow by this factor (the paper: 4, so 3 -> 12 and 1 -> 4).
    Factor(usize),
    /// This many zero channels are added (the ICML version: 13, so 3 -> 16).
    Extra(usize),
}

/// Width of the middle of a residual block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Bottleneck {
    /// The stage's channels divided by this, at least 1 (the paper: 4).
    Ratio(usize),
    /// One width a stage.
    Widths(Vec<usize>),
}

/// The activation κ of the residual branches; each is 1-Lipschitz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(z, 0)`
    Relu,
    /// `z` for `z > 0`, else `exp(z) - 1`
    Elu,
    /// `ln(1 + exp(z))`
    Softplus,
    /// `z sigmoid(z) / 1.1` (Chen et al. 2019)
    LipSwish,
}

impl Activation {
    pub(crate) fn kernel(self) -> iresnet_kernels::Activation {
        match self {
            Activation::Relu => iresnet_kernels::Activation::Relu,
            Activation::Elu => iresnet_kernels::Activation::Elu,
            Activation::Softplus => iresnet_kernels::Activation::Softplus,
            Activation::LipSwish => iresnet_kernels::Activation::LipSwish,
        }
    }
}

/// The three normalisations of the same network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Norm {
    /// Vanilla: weights as they are.
    None,
    /// A BatchNorm before every activation of the trunk.
    Batch,
    /// Every convolution's spectral norm held at most at `coeff` (equation 10 of the paper).
    Spectral {
        /// The coefficient c, strictly between 0 and 1.
        coeff: f64,
    },
}

impl Norm {
    /// The coefficient of spectral normalisation, if that is what this is.
    pub fn coeff(self) -> Option<f64> {
        match self {
            Norm::Spectral { coeff } => Some(coeff),
            _ => None,
        }
    }

    /// The name in Table 1: `vanilla`, `batch-norm`, `c = 0.9`.
    pub fn label(self) -> String {
        match self {
            Norm::None => "vanilla".into(),
            Norm::Batch => "batch-norm".into(),
            Norm::Spectral { coeff } => format!("c = {coeff}"),
        }
    }
}

/// The architecture of an invertible residual network.
///
/// Everything but `norm` is the same for the six models of Table 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Residual blocks per stage; before every stage but the first there is a 2x2 downsampling.
    pub blocks: Vec<usize>,
    /// Zero channels added to the input.
    pub padding: Padding,
    /// Width of the middle of each block.
    pub bottleneck: Bottleneck,
    /// Sizes of the three convolution kernels of a block, odd.
    pub kernels: [usize; 3],
    /// Activation of the branches.
    pub activation: Activation,
    /// Normalisation of the trunk.
    pub norm: Norm,
    /// Dropout probability inside the blocks, in training only.
    pub dropout: f64,
    /// Step size h of `x + h g(x)`.
    pub step: f64,
    /// Whether an ActNorm precedes every block: a scale and a shift a channel, chosen by the first batch and trained
    /// (Kingma and Dhariwal 2018). Records and weight files leave it out where it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub actnorm: bool,
}

impl ModelConfig {
    /// Checks every range, cheapest first.
    ///
    /// # Errors
    /// Names the first key whose value cannot be used, and what could.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.blocks.is_empty() || self.blocks.contains(&0) {
            return Err(ConfigError::value(
                "model.blocks",
                format!("{:?}", self.blocks),
                "give at least one block to each of one or more stages",
            ));
        }
        if self.padding == Padding::Factor(0) {
            return Err(ConfigError::value("model.padding.factor", 0, "a factor of at least 1"));
        }
        match &self.bottleneck {
            Bottleneck::Ratio(0) => {
                return Err(ConfigError::value("model.bottleneck.ratio", 0, "a ratio of at least 1"));
            }
            Bottleneck::Widths(widths) if widths.len() != self.blocks.len() || widths.contains(&0) => {
                return Err(ConfigError::value(
                    "model.bottleneck.widths",
                    format!("{widths:?}"),
                    format!("one width of at least 1 for each of the {} stages", self.blocks.len()),
                ));
            }
            _ => {}
        }
        if self.kernels.iter().any(|k| k % 2 == 0) {
            return Err(ConfigError::value(
                "model.kernels",
                format!("{:?}", self.kernels),
                "three odd sizes, such as [3, 1, 3]",
            ));
        }
        if self.actnorm && self.norm == Norm::Batch {
            let instead = "false with batch normalisation, which scales and shifts too";
            return Err(ConfigError::value("model.actnorm", true, instead));
        }
        if let Norm::Spectral { coeff } = self.norm
            && !(coeff > 0.0 && coeff < 1.0)
        {
            return Err(ConfigError::value(
                "model.norm.coeff",
                coeff,
                "a coefficient strictly between 0 and 1, such as 0.9",
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(ConfigError::value(
                "model.dropout",
                self.dropout,
                "a probability from 0 up to, but not including, 1",
            ));
        }
        if !(self.step > 0.0 && self.step.is_finite()) {
            return Err(ConfigError::value("model.step", self.step, "a positive step size, 1 for the paper's network"));
        }
        Ok(())
    }

    /// Channels behind the injective padding, for images of `channels` channels.
    pub fn padded_channels(&self, channels: usize) -> usize {
        match self.padding {
            Padding::Factor(factor) => channels * factor,
            Padding::Extra(extra) => channels + extra,
        }
    }

    /// Middle width of the blocks of `stage`, which has `channels` channels.
    pub fn bottleneck_width(&self, stage: usize, channels: usize) -> usize {
        match &self.bottleneck {
            Bottleneck::Ratio(ratio) => (channels / ratio).max(1),
            Bottleneck::Widths(widths) => widths[stage],
        }
    }

    /// Bound on `Lip(h g)` of one block that spectral normalisation aims at: `h c^3`.
    pub fn lipschitz_budget(&self) -> Option<f64> {
        self.norm.coeff().map(|c| self.step * c.powi(3))
    }

    /// The same while training: `h c^3 / (1 - p)`; the inverted dropout multiplies by `1 / (1 - p)`.
    pub fn training_lipschitz_budget(&self) -> Option<f64> {
        self.lipschitz_budget().map(|budget| budget / (1.0 - self.dropout))
    }
}
