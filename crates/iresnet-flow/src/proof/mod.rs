//! Proof, from upper bounds only, that a chain is invertible.
//!
//! `Lip(h g) <= h prod ||W_i|| prod Lip(κ) prod (BatchNorm gains) = L_t` for each residual layer; if every `L_t < 1` the
//! inverse exists everywhere (Theorem 1 of the paper), `Lip(F) <= prod (1 + L_t)` and `Lip(F^-1) <= prod 1 / (1 - L_t)`,
//! other layers' own factors added. All in evaluation mode: no dropout, BatchNorm with running statistics.

mod block;
mod certificate;
mod error_bars;
mod file;
mod layer;
mod rescale;

pub use block::{BlockBound, LayerBound};
pub use certificate::{Certificate, Statement, examine};
pub use error_bars::error_bars;
pub use file::Refused;
pub use layer::{Layer, Proved};
pub use rescale::{level, rescaling};
