//! The `iresnet` command line: parse, run, report.

mod args;
mod commands;
mod terminal;

use clap::Parser;

use args::{Cli, Command};

/// How a command ended, as an exit code.
pub enum Verdict {
    /// Done: 0.
    Done,
    /// A checked claim does not hold: 3.
    ClaimFails,
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let result = match cli.command.unwrap_or_default() {
        Command::Train(args) => commands::train::run(args),
        Command::Evaluate(args) => commands::evaluate::run(args),
        Command::Invert(args) => commands::invert::run(args),
        Command::Spectrum(args) => commands::spectrum::run(args),
        Command::Certify(args) => commands::certify::run(args),
        Command::Reproduce(args) => commands::reproduce::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Summary(args) => commands::summary::run(args),
        Command::Data(args) => commands::data::run(args),
    };
    match result {
        Ok(Verdict::Done) => 0.into(),
        Ok(Verdict::ClaimFails) => 3.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<args::UsageError>() { 2.into() } else { 1.into() }
        }
    }
}
