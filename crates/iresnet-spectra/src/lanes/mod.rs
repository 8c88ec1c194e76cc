//! Hermitian matrices four at a time, in float32 eight: every number is a vector with one lane a matrix.
//!
//! The symbols of a convolution are hundreds of small matrices of one size. Side by side in the lanes of a vector, each
//! step of a factorisation is the same instruction for all of them, without the short loops and the shuffles that one
//! small complex matrix costs.
//!
//! Everything is compiled once for each set of vector instructions ([`iresnet_kernels::dispatch`]), and once for machines
//! that do not multiply and add at once.
//!
//! - `entry`: numbers with a lane for each matrix
//! - `batch`: the matrices, as combinations of coefficients, times vectors
//! - `powers`: their largest eigenvalues, about
//! - `cholesky`: whether they are positive
//! - `householder`: all their eigenvalues

mod batch;
mod cholesky;
mod entry;
mod householder;
mod powers;

pub(crate) use batch::Batch;
pub(crate) use entry::{Entry, LANES, Lane, SINGLES, number};

#[cfg(test)]
mod tests;
