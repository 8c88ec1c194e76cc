//! Loading data sets, of options and of runs.

use std::path::Path;

use anyhow::Result;
use iresnet::data::{self, Split};
use iresnet::model::Input;
use iresnet::train::{RunConfig, RunRecord};

use crate::error::{UsageError, named};
use crate::options::{DataDir, RunData};
use crate::terminal::download_bar;
use crate::version::VERSION;

/// Data and what `--data` said.
pub struct Loaded {
    pub split: Split,
    data: String,
}

/// Loads what `--data` names.
pub fn load(data: &str, dir: &DataDir) -> Result<Loaded> {
    found(data, dir).map_err(|error| anyhow::Error::msg(named(&format!("--data {data}"), error)))
}

fn found(data: &str, dir: &DataDir) -> Result<Loaded> {
    let split = data::load(data, &dir.path(), Some(&download_bar(data)))?;
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
    let Some(data) = &choice.data else {
        let message = format!("the images that this network learnt from are not in the folder {}", record.data);
        if !data::is_named(&record.data) && !Path::new(&record.data).is_dir() {
            return Err(UsageError(format!("{message}; say where they are with --data FOLDER")).into());
        }
        return fitting(found(&record.data, &choice.dir)?, &record.data, record);
    };
    fitting(load(data, &choice.dir)?, &format!("--data {data}"), record)
}

/// `loaded`, which `name` names, if it fits the network of `record`.
fn fitting(loaded: Loaded, name: &str, record: &RunRecord) -> Result<Loaded> {
    let show = |i: Input| format!("{}x{} with {} channels and {} classes", i.width, i.height, i.channels, i.classes);
    if loaded.split.input() != record.input {
        let (ours, theirs) = (show(record.input), show(loaded.split.input()));
        return Err(UsageError(format!("{name} is {theirs}; this network takes {ours}")).into());
    }
    if let Some((theirs, ours)) = loaded.split.classes.iter().zip(&record.classes).find(|(a, b)| a != b) {
        let message = format!("{name} has a class {theirs} where this network learnt {ours}; labels would not fit");
        return Err(UsageError(message).into());
    }
    // Bytes of the digits count to 16, those of picture files to 255.
    if (loaded.split.name == "digits") != (record.data_name == "digits") {
        return Err(UsageError(format!("{name} counts its grey levels otherwise than {}", record.data_name)).into());
    }
    Ok(loaded)
}

impl Loaded {
    /// Everything that determines a run on this data.
    pub fn record(&self, preset: &str, config: RunConfig, seed: u64) -> RunRecord {
        RunRecord {
            version: VERSION.into(),
            data: self.data.clone(),
            ..RunRecord::new(&self.split, preset, config, seed)
        }
    }
}
