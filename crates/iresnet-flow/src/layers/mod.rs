//! Layers: one file each, both directions, what training and proofs need of them.

pub mod actnorm;
pub mod padding;
pub mod residual;
pub mod squeeze;

pub use actnorm::ActNorm;
pub use padding::InjectivePadding;
pub use residual::Residual;
pub use squeeze::Squeeze;
