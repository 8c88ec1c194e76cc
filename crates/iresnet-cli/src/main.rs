//! The `iresnet` command line: parse, run, report.

// Everything that is printed goes through `output`, which cannot panic.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod commands;
mod error;
mod inputs;
mod options;
mod output;
mod terminal;
mod version;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use commands::Verdict;
use output::say;

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(wrong) if wrong.use_stderr() => {
            _ = wrong.print();
            return ExitCode::from(2);
        }
        // Help, or the version.
        Err(asked) => {
            output::remember(asked.print());
            Ok(Verdict::Done)
        }
    };
    match (result, output::finish()) {
        (Err(error), _) => {
            say!("error: {}", error::message(&error));
            error::exit_code(&error).into()
        }
        (Ok(_), Err(error)) => {
            say!("error: cannot write to standard output: {error}");
            1.into()
        }
        (Ok(verdict), Ok(())) => verdict.exit_code().into(),
    }
}
