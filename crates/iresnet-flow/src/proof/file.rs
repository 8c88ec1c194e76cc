//! Certificates in files.
//!
//! A file proves nothing: anyone can write one, and the weights beside it may have changed since. So none is ever turned
//! into a [`Certificate`]. Checking one compares the weights' checksum and the image size, proves everything anew, and
//! refuses the file if it says anything else than the new proof.

use serde_json::{Value, json};

use iresnet_spectra::Progress;

use super::certificate::{Certificate, checksum, examine};
use super::layer::Layer;
use crate::ImageShape;
use crate::chain::Chain;

/// Why a certificate from a file is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is no certificate at all.
    #[error("is not a certificate: {message}")]
    Format {
        /// What is wrong.
        message: String,
    },
    /// It is for other weights.
    #[error(
        "is for weights with checksum {claimed}, and those in use have {found}: \
         they were changed after it was made; certify them anew"
    )]
    Weights {
        /// Checksum in the file.
        claimed: String,
        /// Checksum of the weights in use and the step sizes.
        found: String,
    },
    /// It is for images of another size.
    #[error(
        "is for images of {claimed:?} (channels, height, width), and this network takes {found:?}; certify it anew"
    )]
    Image {
        /// Size in the file.
        claimed: [usize; 3],
        /// Size of the network's input.
        found: [usize; 3],
    },
    /// It says something that a new proof does not.
    #[error("says {place} = {claimed}, and a new proof gives {proved}")]
    Claim {
        /// Where, such as `blocks[3].layers[0].norm`.
        place: String,
        /// The file's value.
        claimed: String,
        /// The new proof's value.
        proved: String,
    },
}

/// Relative difference of a bound and of the same bound proved again: sums are split by the number of threads, and the
/// search from below that a bound starts from feels it in its last digits.
const SAME: f64 = 1e-9;

impl Certificate {
    /// The certificate as JSON, with the iterations of every block that `tolerance` needs ([`Certificate::iterations`])
    /// and the version of this software. Infinite bounds are `null`.
    pub fn to_json(&self, tolerance: f64) -> Value {
        let mut value = serde_json::to_value(self).expect("a certificate is JSON");
        value["tolerance"] = json!(tolerance);
        value["iterations"] = json!(self.iterations(tolerance));
        value["version"] = json!(env!("CARGO_PKG_VERSION"));
        value
    }

    /// Compares `text`, written by [`Certificate::to_json`], with a new proof for `chain` ([`examine`]), which is returned
    /// with the chain that relies on it.
    ///
    /// # Errors
    /// Text that is no certificate, one for other weights or images, or one that says anything else than the new proof.
    pub fn verify(
        text: &str,
        chain: &Chain<Box<dyn Layer>>,
        image: ImageShape,
        dropout: f64,
        progress: Progress<'_>,
    ) -> Result<(Certificate, Chain<Box<dyn Layer>>), Refused> {
        let format = |message: String| Refused::Format { message };
        let mut file: Value = serde_json::from_str(text).map_err(|e| format(e.to_string()))?;
        let missing = |key: &str| format(format!("{key} is missing or of another type"));
        let claimed_image: [usize; 3] = file.get("image").and_then(as_size).ok_or_else(|| missing("image"))?;
        let claimed = file["weights_sha256"].as_str().ok_or_else(|| missing("weights_sha256"))?;
        let tolerance = file["tolerance"].as_f64().ok_or_else(|| missing("tolerance"))?;
        let found = [image.channels, image.height, image.width];
        if claimed_image != found {
            return Err(Refused::Image { claimed: claimed_image, found });
        }
        let found = checksum(chain);
        if claimed != found {
            return Err(Refused::Weights { claimed: claimed.into(), found });
        }
        let (certificate, chain) = examine(chain, image, dropout, progress);
        let mut proved = certificate.to_json(tolerance);
        // Who made it is no claim about the network.
        for value in [&mut file, &mut proved] {
            value.as_object_mut().map(|fields| fields.remove("version"));
        }
        match difference(&file, &proved, "") {
            None => Ok((certificate, chain)),
            Some((place, claimed, proved)) => Err(Refused::Claim { place, claimed, proved }),
        }
    }
}

fn as_size(value: &Value) -> Option<[usize; 3]> {
    serde_json::from_value(value.clone()).ok()
}

/// The first place where two JSON values differ, and what stands there; numbers may differ by [`SAME`].
fn difference(a: &Value, b: &Value, place: &str) -> Option<(String, String, String)> {
    let here = || Some((place.to_string(), a.to_string(), b.to_string()));
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            let (x, y) = (x.as_f64()?, y.as_f64()?);
            if (x - y).abs() <= SAME * y.abs() { None } else { here() }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            (0..x.len()).find_map(|i| difference(&x[i], &y[i], &format!("{place}[{i}]")))
        }
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => {
            let dot = if place.is_empty() { "" } else { "." };
            x.keys().find_map(|key| difference(&x[key], &y[key], &format!("{place}{dot}{key}")))
        }
        (x, y) if x == y => None,
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            let place = if place.is_empty() { "the file" } else { place };
            Some((place.into(), "another structure".into(), "as this version writes it".into()))
        }
        _ => here(),
    }
}
