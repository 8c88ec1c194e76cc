//! How far a piece of work is.

pub use iresnet::Progress;
pub(crate) use iresnet::tell;
