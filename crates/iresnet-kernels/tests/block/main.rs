//! The scalar float64 reference is validated by known identities and finite differences, then every kernel against it,
//! on every level that this processor has.

mod batchnorm;
mod common;
mod forward;
mod gradients;
mod jacobian;
mod packs;
mod power;
mod precise;
