//! Exit codes of errors, and the libraries' errors in the words of the command line.
//!
//! Libraries name keys and values; here they meet the options that a user gave.

use std::fmt::Display;
use std::path::PathBuf;

use iresnet::certificate::Refused;
use iresnet::model::ConfigError;
use iresnet::solve::Contradiction;
use iresnet::train::RunError;
use iresnet_lab::LabError;

/// An option that cannot be used as it was given: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// A certificate in a file that is not true of the weights in use: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{path} {refused}")]
pub struct RefusedFile {
    /// The file.
    pub path: PathBuf,
    /// What is not true.
    pub refused: Refused,
}

/// 2 for wrong use, 3 for a certificate that a solver or a new proof refuted, else 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let refuted = error.is::<Contradiction>()
        || error.is::<RefusedFile>()
        || matches!(error.downcast_ref(), Some(LabError::Contradiction(_)));
    if error.is::<UsageError>() {
        2
    } else if refuted {
        3
    } else {
        1
    }
}

/// What the program says of an error.
pub fn message(error: &anyhow::Error) -> String {
    let run = match error.downcast_ref() {
        Some(LabError::Run(run)) => Some(run),
        _ => error.downcast_ref(),
    };
    run.map_or_else(|| error.to_string(), of_run)
}

/// What an error of a run folder says, and the option or command that helps.
pub fn of_run(error: &RunError) -> String {
    let help = match error {
        RunError::Exists { .. } => "add --resume to go on with it, or choose another --out",
        RunError::NotARun { path } => {
            return with_help(error, &format!("`iresnet train --out {}` makes one", path.display()));
        }
        RunError::NoWeights { .. } => {
            "`iresnet train --resume` with the run's options trains on, or takes the file back from the checkpoint"
        }
        RunError::OtherRun { .. } => "ask for the same, or choose another --out",
        RunError::Busy { .. } => "wait for it, or choose another --out",
        RunError::NoCheckpoint { .. } | RunError::Diverged { .. } => "choose another --out",
        _ => return error.to_string(),
    };
    with_help(error, help)
}

/// `message` and what helps, unless it names an option by itself.
fn with_help(message: impl Display, help: &str) -> String {
    let message = message.to_string();
    if message.contains(" --") { message } else { format!("{message}; {help}") }
}

/// `error` behind the option that it comes from, such as `--data svhn`, unless it names that option by itself.
pub fn named(option: &str, error: impl Display) -> String {
    let message = error.to_string();
    let name = option.split(' ').next().unwrap_or(option);
    if message.contains(name) { message } else { format!("{option}: {message}") }
}

/// An option whose value does not fit.
pub fn of_option(option: &str, error: impl Display) -> UsageError {
    UsageError(named(option, error))
}

/// An option that was given and sets a key of the configuration.
#[derive(Clone, Debug)]
pub struct Given {
    /// The key, such as `model.blocks`.
    key: String,
    /// The option with its value, such as `--blocks 4 4`.
    option: String,
}

impl Given {
    /// `option`, as it was given, sets `key`.
    pub fn new(key: &str, option: String) -> Self {
        Given { key: key.into(), option }
    }

    /// `--set assignment`.
    pub fn set(assignment: &str) -> Self {
        let key = assignment.split('=').next().unwrap_or_default().trim();
        Given::new(key, format!("--set {assignment}"))
    }

    /// Whether it sets `key`, or the table that `key` is in.
    fn sets(&self, key: &str) -> bool {
        key.strip_prefix(&self.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// A configuration that the options `given` made: the message names the one to change, if it was one of them.
pub fn of_config(error: ConfigError, given: &[Given]) -> UsageError {
    let of_key = |key: &str| given.iter().rfind(|given| given.sets(key)).map(|given| given.option.clone());
    let option = match &error {
        ConfigError::Value { key, .. } => of_key(key),
        ConfigError::OddSize { .. } => of_key("model.blocks"),
        ConfigError::Parse { source_name, message } => {
            let assignments = given.iter().filter_map(|given| given.option.strip_prefix("--set "));
            let named: Vec<&str> = assignments.filter(|assignment| source_name.contains(assignment)).collect();
            if named.is_empty() {
                None
            } else {
                return UsageError(format!("--set {}: {message}", named.join(" --set ")));
            }
        }
    };
    UsageError(option.map_or_else(|| error.to_string(), |option| format!("{option}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &'static str) -> ConfigError {
        ConfigError::Value { key, value: "2".into(), expected: "a probability".into() }
    }

    #[test]
    fn the_option_that_set_the_key_is_named() {
        let given = [
            Given::new("train.epochs", "--epochs 0".into()),
            Given::set("model.dropout=0"),
            Given::set("model.dropout=2"),
            Given::set("model.padding={extra=1}"),
        ];
        let says = |error| of_config(error, &given).to_string();
        assert_eq!(
            says(value("model.dropout")),
            "--set model.dropout=2: model.dropout = 2 is not usable: a probability"
        );
        assert!(says(value("train.epochs")).starts_with("--epochs 0: train.epochs = 2"));
        assert!(says(value("model.padding.extra")).starts_with("--set model.padding={extra=1}: "));
        // Not given: the preset's own value does not fit, and no option is to blame.
        assert!(says(value("model.pad")).starts_with("model.pad = 2"));
        let odd = ConfigError::OddSize { stage: 2, height: 1, width: 1, factor: 4 };
        assert!(of_config(odd, &[Given::set("model.blocks=[1,1]")]).0.starts_with("--set model.blocks=[1,1]: stage 2"));
    }

    /// Whatever the library calls the place where it read them.
    #[test]
    fn assignments_that_do_not_parse_are_named_once() {
        let given = [Given::set("model.depth=3"), Given::set("train.shift=a")];
        for source in ["model.depth=3", "--set model.depth=3", "override model.depth=3"] {
            let error = ConfigError::Parse { source_name: source.into(), message: "unknown key depth".into() };
            assert_eq!(of_config(error, &given).0, "--set model.depth=3: unknown key depth");
        }
        let error = ConfigError::Parse { source_name: "preset digits".into(), message: "bad".into() };
        assert_eq!(of_config(error, &given).0, "preset digits: bad");
    }

    #[test]
    fn options_are_named_once() {
        assert_eq!(named("--data svhn", "data set svhn is unknown"), "--data svhn: data set svhn is unknown");
        assert_eq!(named("--data svhn", "--data svhn is unknown"), "--data svhn is unknown");
        assert_eq!(with_help("a holds a run already", "add --resume"), "a holds a run already; add --resume");
        assert_eq!(with_help("a holds one; add --resume", "choose another"), "a holds one; add --resume");
    }

    #[test]
    fn errors_of_run_folders_say_what_helps() {
        let error = RunError::NotARun { path: "out".into() };
        assert!(of_run(&error).ends_with("`iresnet train --out out` makes one"));
        let error = anyhow::Error::from(LabError::Run(RunError::Exists { path: "out".into() }));
        assert!(message(&error).contains("--out"), "{error}");
        assert_eq!(exit_code(&error), 1);
    }
}
