//! Normalisation of the trunk.

use clap::{Args, ValueEnum};
use iresnet::model::Norm;

use crate::error::{Given, UsageError};

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum NormKind {
    /// Weights as they are: the inverse need not exist
    None,
    /// A BatchNorm before every activation: the inverse need not exist
    Batch,
    /// Spectral norms held at --coeff as power iteration estimates them: the inverse exists if `certify` proves it
    Spectral,
}

/// Normalisation of the trunk.
#[derive(Args, Clone, Copy, Debug)]
pub struct NormArgs {
    /// Normalisation of the trunk [default: spectral]
    #[arg(long, value_enum)]
    norm: Option<NormKind>,
    /// Coefficient c of spectral normalisation, strictly between 0 and 1 [default: 0.9]
    #[arg(long)]
    coeff: Option<f64>,
}

impl NormArgs {
    /// Whether one of the two was named.
    pub fn is_given(self) -> bool {
        self.norm.is_some() || self.coeff.is_some()
    }

    /// The coefficient, if it was named.
    pub fn given(self) -> Option<Given> {
        self.coeff.map(|coeff| Given::new("model.norm.coeff", format!("--coeff {coeff}")))
    }

    /// The normalisation, with its coefficient where it has one.
    pub fn norm(self) -> Result<Norm, UsageError> {
        match (self.norm.unwrap_or(NormKind::Spectral), self.coeff) {
            (NormKind::Spectral, coeff) => Ok(Norm::Spectral { coeff: coeff.unwrap_or(0.9) }),
            (_, Some(_)) => Err(UsageError("--coeff belongs to --norm spectral; leave one of the two out".into())),
            (NormKind::None, None) => Ok(Norm::None),
            (NormKind::Batch, None) => Ok(Norm::Batch),
        }
    }
}
