//! How a network is trained, as data.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// The recipe of section 4 of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Momentum of SGD, without dampening.
    pub momentum: f64,
    /// Weight decay on all parameters.
    pub weight_decay: f64,
    /// L2 norm to which longer gradients, of all parameters together, are shortened; 0 leaves them as they are. Values that are
    /// not finite stay so.
    #[serde(default)]
    pub clip_norm: f64,
    /// Learning rate at the start of Muon, for the kernels of the trunk; 0 leaves them to SGD like all other parameters.
    #[serde(default)]
    pub muon_rate: f64,
    /// Fractions of the epochs after which the rates fall; they scale with `epochs`.
    pub milestones: Vec<f64>,
    /// What the rates are multiplied by at each milestone.
    pub decay: f64,
    /// Random shifts of up to this many pixels.
    pub shift: usize,
    /// Random horizontal flips.
    pub flip: bool,
    /// Training images held out, at even distances in their set, whose error chooses `best.safetensors`; with 0 the test
    /// error does.
    #[serde(default)]
    pub validation: usize,
}

impl TrainConfig {
    /// Learning rate when `epochs_done` epochs, with fractions, are done.
    pub fn learning_rate_at(&self, epochs_done: f64) -> f64 {
        let passed = self.milestones.iter().filter(|&&m| epochs_done >= m * self.epochs as f64 - 1e-9).count();
        self.learning_rate * self.decay.powi(passed as i32)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let positive = |key, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(ConfigError::value(key, value, "a positive number")),
        };
        if self.epochs == 0 || self.batch_size == 0 {
            let (key, value) = if self.epochs == 0 { ("train.epochs", 0) } else { ("train.batch_size", 0) };
            return Err(ConfigError::value(key, value, "at least 1"));
        }
        positive("train.learning_rate", self.learning_rate)?;
        positive("train.decay", self.decay)?;
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(ConfigError::value(
                "train.momentum",
                self.momentum,
                "a number from 0 up to, but not including, 1",
            ));
        }
        for (key, value) in [
            ("train.weight_decay", self.weight_decay),
            ("train.clip_norm", self.clip_norm),
            ("train.muon_rate", self.muon_rate),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(ConfigError::value(key, value, "zero or a positive number"));
            }
        }
        if self.milestones.iter().any(|m| !(0.0..=1.0).contains(m)) {
            return Err(ConfigError::value(
                "train.milestones",
                format!("{:?}", self.milestones),
                "fractions of the epochs between 0 and 1",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;

    #[test]
    fn recipes_from_before_clipping_and_muon_load_and_unknown_keys_do_not() {
        let config = TrainConfig { clip_norm: 0.0, muon_rate: 0.0, ..RunConfig::preset("digits").unwrap().train };
        let mut json = serde_json::to_value(&config).unwrap();
        let fields = json.as_object_mut().unwrap();
        fields.remove("clip_norm");
        fields.remove("muon_rate");
        let read = |fields: &serde_json::Map<String, serde_json::Value>| {
            serde_json::from_value::<TrainConfig>(fields.clone().into())
        };
        assert_eq!(read(fields).unwrap(), config);
        fields.insert("clip".into(), 1.0.into());
        assert!(read(fields).unwrap_err().to_string().contains("clip"));
    }

    #[test]
    fn clipping_and_muon_are_not_negative() {
        for key in ["clip_norm", "muon_rate"] {
            for (value, good) in [("1.5", true), ("0", true), ("-1", false), ("nan", false)] {
                let config = RunConfig::preset_with("digits", &[format!("train.{key}={value}")]);
                assert_eq!(config.is_ok(), good, "{key}={value}");
                if let Err(error) = config {
                    assert!(error.to_string().contains(key), "{error}");
                }
            }
        }
    }
}
