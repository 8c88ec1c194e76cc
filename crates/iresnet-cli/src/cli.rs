//! What can be asked on the command line: the commands, and nothing else.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::commands::{Verdict, bench, certify, data, encode, evaluate, invert, reproduce, spectrum, summary, train};
use crate::version::VERSION;

/// Train, invert and certify invertible residual networks (arXiv 1811.00995).
///
/// Without a command: `iresnet reproduce`, which trains the six networks of the paper's Table 1 on the embedded
/// digits, inverts them and writes a report.
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 3 a checked claim does not hold, an image could not be inverted or a network
/// of a report diverged, 130 stopped by Ctrl-C with all work saved.
#[derive(Parser)]
#[command(name = "iresnet", version = VERSION, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Train a network into a run folder
    Train(train::TrainArgs),
    /// Classification error and reconstruction error on the test set
    Evaluate(evaluate::EvaluateArgs),
    /// Classify images and write their latents
    Encode(encode::EncodeArgs),
    /// Invert a network on images, or on latents, and write the reconstructions
    Invert(invert::InvertArgs),
    /// Singular values of every convolution, exact, with rigorous bounds
    Spectrum(spectrum::SpectrumArgs),
    /// Prove that the inverse exists (exit code 0) or say why not (3)
    Certify(certify::CertifyArgs),
    /// Make the paper's table and figures as one report
    Reproduce(reproduce::ReproduceArgs),
    /// Time a training step, a forward pass, an inverse, a spectrum or one block
    Bench(bench::BenchArgs),
    /// Shapes, parameters and Lipschitz budget of a preset or a run
    Summary(summary::SummaryArgs),
    /// List, fetch and verify the data sets
    Data(data::DataArgs),
}

impl Cli {
    /// Does what was asked, or makes the report.
    pub fn run(self) -> Result<Verdict> {
        match self.command {
            None => reproduce::run(reproduce::ReproduceArgs::default_run()),
            Some(Command::Train(args)) => train::run(args),
            Some(Command::Evaluate(args)) => evaluate::run(args),
            Some(Command::Encode(args)) => encode::run(args),
            Some(Command::Invert(args)) => invert::run(args),
            Some(Command::Spectrum(args)) => spectrum::run(args),
            Some(Command::Certify(args)) => certify::run(args),
            Some(Command::Reproduce(args)) => reproduce::run(args),
            Some(Command::Bench(args)) => bench::run(args),
            Some(Command::Summary(args)) => summary::run(args),
            Some(Command::Data(args)) => data::run(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Option names that clash, or that conditions misspell, show here and not at a user's.
    #[test]
    fn options_are_consistent() {
        Cli::command().debug_assert();
    }
}
