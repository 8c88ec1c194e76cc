//! What a solve says of each sample.

use serde::{Deserialize, Serialize};

/// How a sample's solve ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The tolerance is met.
    Converged,
    /// The residual is at the rounding of the number format: nothing more can be had.
    RoundOffFloor,
    /// The limit came first.
    OutOfIterations,
    /// Steps grow instead of shrinking.
    NotContractive,
    /// A value became NaN or infinite.
    NonFinite,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Outcome::Converged => "converged",
            Outcome::RoundOffFloor => "round-off floor",
            Outcome::OutOfIterations => "out of iterations",
            Outcome::NotContractive => "not contractive",
            Outcome::NonFinite => "not finite",
        })
    }
}

impl Outcome {
    /// Whether the result can be used: converged, or as good as the number format allows.
    pub fn is_success(self) -> bool {
        matches!(self, Outcome::Converged | Outcome::RoundOffFloor)
    }
}

/// What a [`Stop::tolerance`](super::Stop::tolerance) bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToleranceOn {
    /// The distance from the solution: constants below 1 are certified.
    Error,
    /// The residual only.
    Residual,
}

impl std::fmt::Display for ToleranceOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ToleranceOn::Error => "error",
            ToleranceOn::Residual => "residual",
        })
    }
}

/// What is known of one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Steps made.
    pub iterations: usize,
    /// Evaluations of `g`.
    pub evaluations: usize,
    /// Length of the last plain step, NaN if there was none: the residual `||x + g(x) - y||` of the iterate before the last.
    /// A certified network's last steps in float64 are not looked at.
    pub residual: f64,
    /// Bound on `||x - x*||` up to the estimate of round-off; only with a certified `L < 1`, and only for finite results.
    pub error_bar: Option<f64>,
    /// Largest ratio of one plain step's length to that of the step before, beyond round-off.
    pub contraction_observed: Option<f64>,
}

impl SampleReport {
    /// Of a sample that no step was made for.
    pub(crate) fn untouched() -> Self {
        SampleReport {
            outcome: Outcome::OutOfIterations,
            iterations: 0,
            evaluations: 0,
            residual: f64::NAN,
            error_bar: None,
            contraction_observed: None,
        }
    }
}

/// The claim `Lip(g) <= L` was seen to be wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "sample {sample}: step {iteration} has length {step:e} after one of {previous:e}, but the certified Lipschitz \
     constant {lipschitz} allows at most {allowed:e}; the certificate does not belong to these weights"
)]
pub struct Contradiction {
    /// Number of the sample.
    pub sample: usize,
    /// Number of the step.
    pub iteration: usize,
    /// Its length.
    pub step: f64,
    /// Length of the step before.
    pub previous: f64,
    /// The bound that was claimed.
    pub lipschitz: f64,
    /// What it allows, round-off included.
    pub allowed: f64,
}
