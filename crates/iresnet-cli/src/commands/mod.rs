//! One file or folder a subcommand: options in, library calls, results out.

pub mod bench;
pub mod certify;
pub mod data;
pub mod encode;
pub mod evaluate;
pub mod invert;
pub mod reproduce;
pub mod spectrum;
pub mod summary;
pub mod train;
mod verdict;

pub use verdict::Verdict;
