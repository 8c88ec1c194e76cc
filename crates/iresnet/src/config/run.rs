//! Architecture and recipe together, from a preset and changes of single values.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::model::ModelConfig;
use super::presets::text;
use super::train::TrainConfig;

/// What a preset holds: architecture and recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The architecture.
    pub model: ModelConfig,
    /// The recipe.
    pub train: TrainConfig,
}

impl RunConfig {
    /// The preset `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the known ones.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        Self::preset_with(name, &[])
    }

    /// The preset `name` with `key=value` overrides, such as `model.blocks=[2,2,2]` or `train.shift=1`.
    ///
    /// # Errors
    /// An unknown preset or key, or a value that does not fit; the message names it.
    pub fn preset_with(name: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        let text = text(name)?;
        let mut table: toml::Table = text.parse().map_err(|e| parse_error(&format!("preset {name}"), e))?;
        for assignment in overrides {
            let invalid = |message: String| ConfigError::Parse { source_name: assignment.clone(), message };
            let (key, value) =
                assignment.split_once('=').ok_or_else(|| invalid("write key=value, such as model.dropout=0".into()))?;
            let value = format!("v = {value}")
                .parse::<toml::Table>()
                .or_else(|_| format!("v = {:?}", value).parse::<toml::Table>())
                .map_err(|e| invalid(e.message().to_string()))?
                .remove("v")
                .expect("just written");
            let (section, key) = key.split_once('.').unwrap_or(("", key));
            let Some(section) = table.get_mut(section).and_then(|s| s.as_table_mut()) else {
                return Err(invalid("keys begin with model. or train.".into()));
            };
            if !section.contains_key(key) {
                let known: Vec<&str> = section.keys().map(String::as_str).collect();
                return Err(invalid(format!("unknown key {key}; known are {}", known.join(", "))));
            }
            section.insert(key.into(), value);
        }
        let config: RunConfig = table.try_into().map_err(|e| {
            let source = if overrides.is_empty() { format!("preset {name}") } else { overrides.join(" ") };
            parse_error(&source, e)
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key whose value cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.model.validate()?;
        self.train.validate()
    }
}

fn parse_error(source: &str, error: toml::de::Error) -> ConfigError {
    ConfigError::Parse { source_name: source.into(), message: error.message().to_string() }
}

impl ModelConfig {
    /// The architecture of the preset `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the known ones.
    pub fn preset(name: &str) -> Result<ModelConfig, ConfigError> {
        Ok(RunConfig::preset(name)?.model)
    }
}
