//! The networks that are timed, and the images that they are shown.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::data::Loader;
use iresnet::model::IResNet;
use iresnet::train::{RunConfig, RunDir, RunRecord};

use crate::error::UsageError;
use crate::inputs::load_for_run;
use crate::options::{DataDir, NormArgs, RunData, fresh, values};

/// Which network.
#[derive(Args, Debug)]
pub struct NetworkArgs {
    /// Named configuration
    #[arg(long, default_value = "paper-cifar10")]
    preset: String,
    /// A trained run instead of a preset
    #[arg(long, value_name = "RUN", conflicts_with_all = ["preset", "blocks", "norm", "coeff"])]
    run: Option<PathBuf>,
    /// Residual blocks of each stage, instead of the preset's
    #[arg(long, num_args = 1..)]
    blocks: Option<Vec<usize>>,
    #[command(flatten)]
    norm: NormArgs,
}

/// Which images, and how many a call.
#[derive(Args, Debug)]
pub struct ImagesArgs {
    /// Images a call: of a preset numbers, of a run test images of its data
    #[arg(long, default_value_t = 128, value_parser = values::images)]
    pub batch: usize,
    /// Data set, or folder of images, in place of the one that --run was trained on
    #[arg(long, requires = "run")]
    data: Option<String>,
    #[command(flatten)]
    dir: DataDir,
}

/// A network and its recipe.
pub struct Network {
    pub model: IResNet,
    pub config: RunConfig,
    /// The preset, or the run.
    pub name: String,
    /// Of a trained one.
    record: Option<RunRecord>,
}

impl NetworkArgs {
    /// Loads or makes it.
    pub fn network(&self) -> Result<Network> {
        if let Some(run) = &self.run {
            let (record, model) = RunDir::open(run)?.load()?;
            let config = RunConfig { model: record.model.clone(), train: record.train.clone() };
            return Ok(Network { model, config, name: run.display().to_string(), record: Some(record) });
        }
        let (model, config) = fresh(&self.preset, self.norm, self.blocks.as_deref())?;
        Ok(Network { model, config, name: self.preset.clone(), record: None })
    }
}

impl ImagesArgs {
    /// Images and labels: test images of a run's data at even distances; numbers for a network that learnt nothing.
    pub fn load(&self, network: &Network) -> Result<(Vec<f32>, Vec<u32>)> {
        let Some(record) = &network.record else {
            let (input, batch) = (network.model.layout().input, self.batch);
            let images = (0..batch * input.len()).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
            return Ok((images, (0..batch).map(|i| (i % input.classes) as u32).collect()));
        };
        let data = RunData { data: self.data.clone(), dir: self.dir.clone() };
        let test = load_for_run(record, &data)?.split.test.spread(self.batch);
        if test.len() < self.batch {
            let message = format!("--batch {} is more than the {} test images", self.batch, test.len());
            return Err(UsageError(message).into());
        }
        let batch = Loader::evaluate(&test, &record.normalization, self.batch).next().expect("a batch of test images");
        Ok((batch.images, batch.labels))
    }
}
