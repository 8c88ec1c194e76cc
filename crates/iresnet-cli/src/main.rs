//! The `iresnet` command line: parse, run, report.

mod args;
mod commands;
mod terminal;

use clap::Parser;

use args::{Cli, Command};
use commands::Verdict;

/// Version, and the commit that it was made from.
const VERSION: &str = env!("IRESNET_VERSION");

fn main() -> std::process::ExitCode {
    // A reader that has seen enough, such as `head`, ends the program without a word.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str().is_some_and(|message| message.contains("Broken pipe")) {
            std::process::exit(0);
        }
        usual(info);
    }));
    let cli = Cli::parse();
    let result = match cli.command.unwrap_or_default() {
        Command::Train(args) => commands::train::run(args),
        Command::Evaluate(args) => commands::evaluate::run(args),
        Command::Encode(args) => commands::encode::run(args),
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
        Ok(Verdict::Stopped) => 130.into(),
        Err(error) => {
            eprintln!("error: {error}");
            exit_code(&error).into()
        }
    }
}

/// 2 for wrong use, 3 for a certificate that a solver or a new proof refuted, else 1.
fn exit_code(error: &anyhow::Error) -> u8 {
    use iresnet_lab::LabError;
    let refuted = error.is::<iresnet::solve::Contradiction>()
        || error.is::<commands::certify::RefusedFile>()
        || matches!(error.downcast_ref(), Some(LabError::Contradiction(_)));
    if error.is::<args::UsageError>() {
        2
    } else if refuted {
        3
    } else {
        1
    }
}
