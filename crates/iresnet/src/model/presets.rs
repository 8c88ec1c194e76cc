//! Named configurations, the files of `configs/` built into the library.

use super::config::{ConfigError, ModelConfig};

macro_rules! presets {
    ($($name:literal),*) => {
        /// Names and texts of the presets.
        pub const PRESETS: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../../configs/", $name, ".toml")))),*
        ];
    };
}

presets!("digits", "small-mnist", "small-cifar10", "paper-mnist", "paper-cifar10", "icml-cifar10");

/// Text of the preset `name`.
///
/// # Errors
/// An unknown name; the message lists the known ones.
pub(crate) fn text(name: &str) -> Result<&'static str, ConfigError> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        let known: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        ConfigError::Value { key: "preset", value: name.into(), expected: format!("one of {}", known.join(", ")) }
    })
}

impl ModelConfig {
    /// The architecture of the preset `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the known ones.
    pub fn preset(name: &str) -> Result<ModelConfig, ConfigError> {
        Ok(crate::train::RunConfig::preset(name)?.model)
    }
}
