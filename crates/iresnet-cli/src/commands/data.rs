//! `iresnet data`, and loading data for the other commands.

use std::path::Path;

use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use iresnet::data::{self, OFFICIAL, Progress, Split};
use iresnet::model::Input;
use iresnet::train::{RunConfig, RunRecord};

use super::Verdict;
use crate::args::{DataDir, RunData, UsageError};

#[derive(Args, Debug)]
pub struct DataArgs {
    #[command(subcommand)]
    action: DataAction,
    #[command(flatten)]
    data_dir: DataDir,
}

#[derive(Subcommand, Debug)]
pub enum DataAction {
    /// The data sets and where they are
    List,
    /// Download what is missing, checked by checksum
    Fetch {
        /// `mnist` or `cifar10`
        name: String,
    },
    /// Check the files that are there
    Verify {
        /// `mnist` or `cifar10`
        name: String,
    },
}

/// Data and what `--data` said.
pub struct Loaded {
    pub split: Split,
    data: String,
}

/// Loads what `--data` names.
pub fn load(data: &str, dir: &DataDir) -> Result<Loaded> {
    let split = data::load(data, &dir.path(), &Download::default())?;
    // A folder is saved with its whole path: the run must find it from anywhere.
    let named = data::is_named(data);
    let data = match std::fs::canonicalize(data) {
        Ok(path) if !named => path.display().to_string(),
        _ => data.into(),
    };
    Ok(Loaded { split, data })
}

/// Loads the data of a run, or other `data` for its network.
///
/// Fails with wrong use if images, classes or grey levels are not those that the network learnt.
pub fn load_for_run(record: &RunRecord, choice: &RunData) -> Result<Loaded> {
    if choice.data.is_none() && !data::is_named(&record.data) && !Path::new(&record.data).is_dir() {
        let message = format!("the images that this network learnt from are not in the folder {}", record.data);
        return Err(UsageError(format!("{message}; say where they are with --data FOLDER")).into());
    }
    let data = choice.data.as_deref().unwrap_or(&record.data);
    let loaded = load(data, &choice.dir)?;
    let show = |i: Input| format!("{}x{} with {} channels and {} classes", i.width, i.height, i.channels, i.classes);
    if loaded.split.input() != record.input {
        let (ours, theirs) = (show(record.input), show(loaded.split.input()));
        return Err(UsageError(format!("--data {data} is {theirs}; this network takes {ours}")).into());
    }
    if let Some((theirs, ours)) = loaded.split.classes.iter().zip(&record.classes).find(|(a, b)| a != b) {
        let message =
            format!("--data {data} has a class {theirs} where this network learnt {ours}; labels would not fit");
        return Err(UsageError(message).into());
    }
    // Bytes of the digits count to 16, those of picture files to 255.
    if (loaded.split.name == "digits") != (record.data_name == "digits") {
        let message = format!("--data {data} counts its grey levels otherwise than {}", record.data_name);
        return Err(UsageError(message).into());
    }
    Ok(loaded)
}

impl Loaded {
    /// Everything that determines a run on this data.
    pub fn record(&self, preset: &str, config: RunConfig, seed: u64) -> RunRecord {
        RunRecord {
            version: crate::VERSION.into(),
            data: self.data.clone(),
            ..RunRecord::new(&self.split, preset, config, seed)
        }
    }
}

/// A bar for each file that is downloaded.
#[derive(Default)]
struct Download {
    bar: std::sync::Mutex<Option<(String, ProgressBar)>>,
}

impl Progress for Download {
    fn bytes(&self, file: &str, done: u64, total: u64) {
        let mut slot = self.bar.lock().expect("no bar panicked");
        if slot.as_ref().is_none_or(|(name, _)| name != file) {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {eta} left");
            bar.set_style(style.expect("a valid template"));
            bar.set_prefix(file.to_string());
            *slot = Some((file.into(), bar));
        }
        if let Some((_, bar)) = &*slot {
            bar.set_position(done);
        }
    }
}

pub fn run(args: DataArgs) -> Result<Verdict> {
    let dir = args.data_dir.path();
    match args.action {
        DataAction::List => {
            println!("digits   embedded, 1,797 images of 8x8");
            for set in OFFICIAL {
                match set.find(&dir) {
                    Some(folder) => println!("{:<8} in {}", set.name, folder.display()),
                    None => println!("{:<8} not there; `iresnet data fetch {}` downloads it", set.name, set.name),
                }
            }
            println!("any folder with train/<class>/*.png|jpg and test/<class>/*.png|jpg");
        }
        DataAction::Fetch { name } => {
            let folder = data::fetch(&name, &dir, &Download::default())?;
            println!("{name} is in {}", folder.display());
        }
        DataAction::Verify { name } => data::verify(&name, &dir)?.iter().for_each(|line| println!("{line}")),
    }
    Ok(Verdict::Done)
}
