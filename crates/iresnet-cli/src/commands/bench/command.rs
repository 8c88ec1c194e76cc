//! What can be timed.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{block, forward, inverse, norms, step};
use crate::commands::verdict::Verdict;

#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand, Debug)]
enum Kind {
    /// One training step: forward, gradients, update
    Step(step::StepArgs),
    /// One forward pass in evaluation
    Forward(forward::ForwardArgs),
    /// The inverse with a fixed number of iterations a block, or to a tolerance
    Inverse(inverse::InverseArgs),
    /// All singular values of a network's convolutions with circular padding
    Spectrum(norms::NetworkNormsArgs),
    /// Certified norms of a network's convolutions alone
    Norms(norms::NetworkNormsArgs),
    /// The certified norm of one 3x3 convolution
    Norm(norms::NormArgs),
    /// One residual block: forward
    Block(block::BlockArgs),
}

pub fn run(args: BenchArgs) -> Result<Verdict> {
    match args.kind {
        Kind::Step(args) => step::run(args),
        Kind::Forward(args) => forward::run(args),
        Kind::Inverse(args) => inverse::run(args),
        Kind::Spectrum(args) => norms::spectrum(args),
        Kind::Norms(args) => norms::norms(args),
        Kind::Norm(args) => norms::norm(args),
        Kind::Block(args) => block::run(args),
    }?;
    Ok(Verdict::Done)
}
