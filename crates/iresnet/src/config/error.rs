//! What can be wrong with a configuration.

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value is outside its range.
    #[error("{key} = {value} is not usable: {expected}")]
    Value {
        /// The key, such as `model.dropout`.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// An image size that the downsampling cannot halve.
    #[error(
        "stage {stage} would downsample {height}x{width} images, and 2x2 space-to-depth needs even sizes; \
         use fewer stages or images whose sides divide by {factor}"
    )]
    OddSize {
        /// Stage in front of which it happens, from 1.
        stage: usize,
        /// Height there.
        height: usize,
        /// Width there.
        width: usize,
        /// What the input's sides must divide by.
        factor: usize,
    },
    /// The text could not be read as a configuration.
    #[error("{source_name}: {message}")]
    Parse {
        /// File, preset or option.
        source_name: String,
        /// What was wrong and where.
        message: String,
    },
}

impl ConfigError {
    pub(crate) fn value(key: &'static str, value: impl ToString, expected: impl Into<String>) -> Self {
        ConfigError::Value { key, value: value.to_string(), expected: expected.into() }
    }
}
