//! Certificates in files.
//!
//! A file proves nothing: anyone can write one, and the weights beside it may have changed since. So none is ever turned
//! into a [`Certificate`]. Checking one compares the weights' checksum and the image size, proves everything anew, and
//! refuses the file if it says anything else than the new proof.

use serde_json::{Value, json};

use super::{Certificate, checksum};
use crate::model::IResNet;

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

    /// Compares `text`, written by [`Certificate::to_json`], with a new proof for `model`, which is returned.
    ///
    /// `progress` gets layers done and layers in all.
    ///
    /// # Errors
    /// Text that is no certificate, one for other weights or images, or one that says anything else than the new proof.
    pub fn verify(text: &str, model: &IResNet, progress: impl FnMut(usize, usize) + Send) -> Result<Self, Refused> {
        let format = |message: String| Refused::Format { message };
        let mut file: Value = serde_json::from_str(text).map_err(|e| format(e.to_string()))?;
        let missing = |key: &str| format(format!("{key} is missing or of another type"));
        let image: [usize; 3] = file.get("image").and_then(as_size).ok_or_else(|| missing("image"))?;
        let claimed = file["weights_sha256"].as_str().ok_or_else(|| missing("weights_sha256"))?;
        let tolerance = file["tolerance"].as_f64().ok_or_else(|| missing("tolerance"))?;
        let input = model.layout().input;
        let found = [input.channels, input.height, input.width];
        if image != found {
            return Err(Refused::Image { claimed: image, found });
        }
        let found = checksum(model.layout(), &model.effective_weights());
        if claimed != found {
            return Err(Refused::Weights { claimed: claimed.into(), found });
        }
        let certificate = Certificate::of(model, progress);
        let mut proved = certificate.to_json(tolerance);
        // Who made it is no claim about the network.
        for value in [&mut file, &mut proved] {
            value.as_object_mut().map(|fields| fields.remove("version"));
        }
        match difference(&file, &proved, "") {
            None => Ok(certificate),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Input, ModelConfig, Norm};

    fn model(norm: Norm, side: usize) -> IResNet {
        let config = ModelConfig { blocks: vec![1, 1], norm, ..ModelConfig::preset("digits").unwrap() };
        config.init(Input { channels: 1, height: side, width: side, classes: 3 }, 5).unwrap()
    }

    fn refused(text: &str, model: &IResNet) -> Refused {
        Certificate::verify(text, model, |_, _| {}).expect_err("it must be refused")
    }

    #[test]
    fn a_file_is_confirmed_by_a_new_proof_only() {
        let network = model(Norm::Spectral { coeff: 0.5 }, 4);
        let certificate = Certificate::of(&network, |_, _| {});
        assert!(certificate.certified);
        let file = certificate.to_json(1e-6);
        let confirmed = Certificate::verify(&file.to_string(), &network, |_, _| {}).unwrap();
        assert_eq!(confirmed.weights_sha256, certificate.weights_sha256);

        // Every claim that someone could improve.
        let mut better = file.clone();
        better["blocks"][1]["lipschitz"] = json!(0.01);
        let message = refused(&better.to_string(), &network).to_string();
        assert!(message.contains("blocks[1].lipschitz = 0.01"), "{message}");
        let mut fewer = file.clone();
        fewer["iterations"][0] = json!(1);
        assert!(
            matches!(refused(&fewer.to_string(), &network), Refused::Claim { place, .. } if place == "iterations[0]")
        );
        let mut shorter = file.clone();
        shorter["blocks"].as_array_mut().unwrap().pop();
        assert!(matches!(refused(&shorter.to_string(), &network), Refused::Claim { place, .. } if place == "blocks"));

        // Weights that changed in their last bit, and a vanilla network that calls itself certified.
        let mut changed = network.clone();
        let weight = &mut changed.parameters_mut()[0][3];
        *weight = weight.next_up();
        assert!(matches!(refused(&file.to_string(), &changed), Refused::Weights { .. }));
        let mut vanilla = model(Norm::None, 4);
        vanilla.parameters_mut()[0].iter_mut().for_each(|w| *w *= 4.0);
        let mut forged = Certificate::of(&vanilla, |_, _| {}).to_json(1e-6);
        assert_eq!(forged["certified"], false);
        forged["certified"] = json!(true);
        assert!(matches!(refused(&forged.to_string(), &vanilla), Refused::Claim { place, .. } if place == "certified"));
        for text in ["", "[]", "{\"image\": [1, 4]}", "{\"image\": [1, 4, 4], \"weights_sha256\": 3}"] {
            assert!(matches!(refused(text, &network), Refused::Format { .. }), "{text}");
        }
    }

    #[test]
    fn the_same_weights_on_larger_images_need_a_new_certificate() {
        // Without normalisation nothing in the weights depends on the image size.
        let (small, large) = (model(Norm::None, 4), model(Norm::None, 8));
        assert_eq!(small.trunk_parameters(), large.trunk_parameters());
        let file = Certificate::of(&small, |_, _| {}).to_json(1e-6).to_string();
        assert!(matches!(refused(&file, &large), Refused::Image { claimed: [1, 4, 4], found: [1, 8, 8] }));
    }
}
