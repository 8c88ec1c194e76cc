//! Options of `iresnet certify`.

use std::path::PathBuf;

use clap::Args;

use crate::error::UsageError;
use crate::options::RunData;

#[derive(Args, Debug)]
pub struct CertifyArgs {
    /// Run folder; the certificate is written to its certificate.json
    pub run: PathBuf,
    /// Count the iterations of Picard's method down to this part of a block's first step
    #[arg(long, default_value_t = 1e-6, allow_negative_numbers = true)]
    pub tolerance: f64,
    /// Check a certificate against the run instead: prove it again, write nothing [default FILE: RUN/certificate.json]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, conflicts_with_all = ["finalize", "margin", "radii"])]
    pub verify: Option<Option<PathBuf>>,
    /// Scale the layers of blocks above --target, no others, into the certified run RUN/finalized
    #[arg(long)]
    pub finalize: bool,
    /// Bound of Lip(h g) that --finalize brings blocks down to
    #[arg(long, default_value_t = 0.99, requires = "finalize", allow_negative_numbers = true)]
    pub target: f64,
    /// Within which L2 radius each test image keeps its class for certain, into RUN/margins.json
    #[arg(long)]
    margin: bool,
    /// Certified accuracy at these radii, pixels from 0 to 1, separated by commas; implies --margin
    #[arg(long, value_name = "R,...", value_delimiter = ',', allow_negative_numbers = true)]
    radii: Vec<f64>,
    #[command(flatten)]
    pub data: RunData,
    /// Print the certificate, and what else was asked for, as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Radii at which accuracy is certified unless others are asked for.
const RADII: [f64; 7] = [0.0, 1e-5, 3e-5, 1e-4, 1e-3, 1e-2, 0.1];

impl CertifyArgs {
    /// Radii that were asked for, if margins were.
    pub fn margins(&self) -> Option<Vec<f64>> {
        match self.radii.is_empty() {
            true => self.margin.then(|| RADII.to_vec()),
            false => Some(self.radii.clone()),
        }
    }

    /// Refuses values that prove nothing.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.data.data.is_some() && !self.finalize && self.margins().is_none() {
            return Err(UsageError("--data is for --finalize, --margin and --radii; a proof needs no images".into()));
        }
        if !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return Err(UsageError(format!("--tolerance {} must be positive, such as 1e-6", self.tolerance)));
        }
        if !(self.target > 0.0 && self.target < 1.0) {
            return Err(UsageError(format!("--target {} must be strictly between 0 and 1", self.target)));
        }
        if let Some(radius) = self.radii.iter().find(|r| !(**r >= 0.0 && r.is_finite())) {
            return Err(UsageError(format!("--radii {radius} must be zero or positive, such as 0.01,0.1")));
        }
        Ok(())
    }
}
