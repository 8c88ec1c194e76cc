//! Named configurations, the files of `configs/` built into the library.

use super::error::ConfigError;

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
pub(super) fn text(name: &str) -> Result<&'static str, ConfigError> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        let known: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        ConfigError::Value { key: "preset", value: name.into(), expected: format!("one of {}", known.join(", ")) }
    })
}
