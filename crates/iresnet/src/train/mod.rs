//! Training by the paper's recipe: seeded, repeatable, resumable to the bit.
//!
//! A step is `update_norms`, `differentiate`, [`Sgd::step`], `track`. Everything random is a function of the run's
//! seed and of epoch and step numbers, so a run that was killed goes on from its checkpoint as if nothing had
//! happened. At the end of an epoch power iterations converge and the head's statistics are taken anew, then the weights
//! are tested. Checkpoints are written after every epoch, every few minutes, and when a run is asked to stop.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use iresnet::Device;
//! use iresnet::train::{RunConfig, RunDir, RunRecord, train};
//!
//! let data = iresnet::data::load("digits", std::path::Path::new(""), &())?;
//! let config = RunConfig::preset_with("digits", &["model.blocks=[1,1]".into(), "train.epochs=1".into()])?;
//! let record = RunRecord::new(&data, "digits", config, 0);
//! let folder = tempfile::tempdir()?;
//! let dir = RunDir::create(folder.path(), &record, false)?;
//! let (_, progress, _) = train(&dir, &record, &data, &Device::flex(), &AtomicBool::new(false), &mut ())?;
//! assert!(progress.epochs[0].test_error_percent < 50.0);
//! let (_, model) = dir.load()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod muon;
mod optimizer;
mod run;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;

pub use config::{RunConfig, RunRecord, TrainConfig};
pub use optimizer::Sgd;
pub use run::{EpochRecord, Progress, RunDir, RunError, write_atomically};

use crate::data::{Augmentation, Loader, Split};
use crate::evaluate::error_percent;
use crate::model::{ConfigError, Dropout, DropoutKey, IResNet, Norm, peak_resident_bytes};

/// Power iterations at the end of an epoch, when weights are about to be evaluated and saved: many, for largest singular
/// values that lie close together.
const FINAL_POWER_ITERATIONS: usize = 100;
/// Training images, at least, whose latents give the head its statistics at the end of an epoch; fewer if there are
/// fewer.
const HEAD_STATISTICS_IMAGES: usize = 2048;
/// Time between checkpoints within an epoch.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(120);

/// What a training run tells while it goes.
pub struct BatchReport {
    /// From 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Batches of this epoch done.
    pub batch: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Training error of the epoch so far, in percent.
    pub error_percent: f64,
}

/// Receives the progress of a run.
pub trait Observer {
    /// After every step.
    fn batch(&mut self, _report: &BatchReport) {}
    /// After every epoch.
    fn epoch(&mut self, _record: &EpochRecord, _epochs: usize) {}
}

impl Observer for () {}

/// How a call of [`train`] ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// All epochs are done.
    Finished,
    /// It was asked to stop and left a checkpoint.
    Stopped,
}

/// Trains the network of `record` on `data` in the folder `dir`, going on from its checkpoint if there is one. A finished
/// run is taken as it is.
///
/// `stop` is looked at after every step; once it is set, a checkpoint is written and the call returns.
///
/// # Errors
/// A `train.validation` that leaves no images, files that cannot be read or written, weights of an unfinished run
/// without a checkpoint, a loss that is not a number, another process that trains in the folder.
pub fn train(
    dir: &RunDir,
    record: &RunRecord,
    data: &Split,
    device: &Device,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<(IResNet, Progress, Ended), RunError> {
    let config = &record.train;
    record.check(data)?;
    let (images, held_out) = data.train.hold_out(config.validation);
    let _lock = dir.lock()?;
    let mut model = record.model.init(record.input, record.seed)?;
    let source_name = "memory".to_string();
    model.set_memory(record.memory).map_err(|e| ConfigError::Parse { source_name, message: e.to_string() })?;
    let mut sgd = Sgd::new(&model);
    let begun = match dir.load_checkpoint(&mut model, &mut sgd)? {
        Some(progress) => Some(progress),
        None => dir.load_finished(&mut model, config.epochs)?,
    };
    if begun.as_ref().is_some_and(|progress| progress.epoch > 0 && progress.batch == 0) {
        // Weights that were lost since.
        dir.restore_weights(&model)?;
    }
    if begun.is_none() {
        // Weights are never without a checkpoint, then, whenever a run is killed.
        dir.save_checkpoint(&model, &sgd, &Progress::default())?;
    }
    let mut progress = begun.unwrap_or_default();
    let augmentation = Augmentation { shift: config.shift, flip: config.flip };
    let batches = images.len().div_ceil(config.batch_size);
    let mut saved = Instant::now();
    while progress.epoch < config.epochs {
        let started = Instant::now();
        let learning_rate = config.learning_rate_at(progress.epoch as f64);
        let epoch_number = progress.epoch as u64;
        let batches_from = |first| {
            let normalization = &record.normalization;
            Loader::train(&images, normalization, augmentation, config.batch_size, record.seed, epoch_number, first)
        };
        for batch in batches_from(progress.batch) {
            model.update_norms(1);
            let probability = record.model.dropout;
            let key = DropoutKey { seed: record.seed, step: progress.step, probability };
            let dropout = (probability > 0.0).then_some(Dropout::Drawn(key));
            let labels = batch.labels;
            let result = model.differentiate(batch.images, &labels, dropout, device);
            if !result.loss.is_finite() {
                let (loss, epoch, step) = (result.loss, progress.epoch + 1, progress.batch + 1);
                return Err(RunError::Diverged { loss, epoch, step });
            }
            let done = progress.epoch as f64 + progress.batch as f64 / batches as f64;
            sgd.step(&mut model, &result.gradients, config, config.learning_rate_at(done));
            model.track(&result);
            progress.batch += 1;
            progress.step += 1;
            progress.loss_sum += f64::from(result.loss) * labels.len() as f64;
            progress.correct += result.correct;
            progress.seen += labels.len();
            progress.recomputed_blocks += result.memory.recomputed;
            observer.batch(&BatchReport {
                epoch: progress.epoch + 1,
                epochs: config.epochs,
                batch: progress.batch,
                batches,
                loss: progress.loss_sum / progress.seen as f64,
                error_percent: 100.0 * (1.0 - progress.correct as f64 / progress.seen as f64),
            });
            let stopping = stop.load(Ordering::Relaxed);
            if stopping || saved.elapsed() > CHECKPOINT_INTERVAL {
                dir.save_checkpoint(&model, &sgd, &progress)?;
                saved = Instant::now();
            }
            if stopping {
                return Ok((model, progress, Ended::Stopped));
            }
        }
        model.update_norms(FINAL_POWER_ITERATIONS);
        let some = batches_from(0).take(HEAD_STATISTICS_IMAGES.div_ceil(config.batch_size));
        model.recompute_head_statistics(some.map(|batch| batch.images));
        let seconds = started.elapsed().as_secs_f64();
        let error_on = |images| error_percent(&model, images, &record.normalization, &mut |_, _| {});
        let test_error_percent = error_on(&data.test);
        let validation_error_percent = (!held_out.is_empty()).then(|| error_on(&held_out));
        let choosing = validation_error_percent.unwrap_or(test_error_percent);
        let best = progress.best_error_percent.is_none_or(|best| choosing < best);
        if best {
            progress.best_error_percent = Some(choosing);
        }
        let epoch = EpochRecord {
            epoch: progress.epoch + 1,
            learning_rate,
            train_loss: progress.loss_sum / progress.seen as f64,
            train_error_percent: 100.0 * (1.0 - progress.correct as f64 / progress.seen as f64),
            validation_error_percent,
            test_error_percent,
            seconds,
            largest_sigma: largest_sigma(&model),
            memory: record.memory,
            peak_resident_bytes: peak_resident_bytes(),
            recomputed_blocks: progress.recomputed_blocks,
        };
        progress = Progress {
            epoch: progress.epoch + 1,
            step: progress.step,
            best_error_percent: progress.best_error_percent,
            epochs: std::mem::take(&mut progress.epochs),
            ..Progress::default()
        };
        progress.epochs.push(epoch);
        // A step can take weights out of range after the last loss that is looked at; such are not saved.
        let last = progress.epochs.last().expect("just pushed");
        if !model.is_finite() {
            return Err(RunError::Diverged { loss: f32::NAN, epoch: last.epoch, step: batches });
        }
        // The checkpoint is last: until it is written, a resumed run does this epoch's end again.
        dir.save_weights(&model, best)?;
        dir.save_metrics(&progress.epochs)?;
        dir.save_checkpoint(&model, &sgd, &progress)?;
        saved = Instant::now();
        observer.epoch(progress.epochs.last().expect("just pushed"), config.epochs);
    }
    Ok((model, progress, Ended::Finished))
}

/// Largest estimate among the weights in use.
fn largest_sigma(model: &IResNet) -> Option<f64> {
    let Norm::Spectral { coeff } = model.config().norm else { return None };
    let sigmas = model.state().power.iter().map(|power| f64::from(power.sigma).min(coeff));
    sigmas.fold(None, |largest, sigma| Some(largest.map_or(sigma, |l: f64| l.max(sigma))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;

    #[test]
    fn one_process_trains_in_a_folder() {
        let data = crate::data::load("digits", std::path::Path::new(""), &()).unwrap();
        let record = RunRecord::new(&data, "digits", RunConfig::preset("digits").unwrap(), 0);
        let folder = tempfile::tempdir().unwrap();
        let dir = RunDir::create(folder.path(), &record, false).unwrap();
        let lock = dir.lock().unwrap();
        assert!(dir.lock().err().unwrap().to_string().contains("being trained by another process"));
        drop(lock);
        dir.lock().unwrap();
        assert!(!folder.path().join("train.lock").exists());
    }

    #[test]
    fn a_run_goes_on_with_its_images_under_another_name() {
        let data = crate::data::load("digits", std::path::Path::new(""), &()).unwrap();
        let digits = RunRecord::new(&data, "digits", RunConfig::preset("digits").unwrap(), 0);
        let named = |name: &str| RunRecord { data_name: name.into(), ..digits.clone() };
        let folder = tempfile::tempdir().unwrap();
        RunDir::create(folder.path(), &named("here (image folder)"), false).unwrap();
        RunDir::create(folder.path(), &named("there (image folder)"), true).unwrap();
        // Other images are refused whatever they are called; records of before have names only.
        let other = RunRecord { images_sha256: Some("12ab".into()), ..named("here (image folder)") };
        let error = RunDir::create(folder.path(), &other, true).unwrap_err().to_string();
        assert!(error.contains("is a run with images_sha256 = ") && error.contains("asks for \"12ab\""), "{error}");
        let old = RunRecord { images_sha256: None, ..named("there (image folder)") };
        let error = RunDir::create(folder.path(), &old, true).unwrap_err().to_string();
        assert!(error.contains("data = \"here (image folder)\""), "{error}");
    }

    /// Statistics are of all training images, which the digits are few enough for, less those held out.
    #[test]
    fn an_epoch_ends_with_the_statistics_of_the_weights_it_saves_and_the_held_out_images_choose_the_best() {
        let data = crate::data::load("digits", std::path::Path::new(""), &()).unwrap();
        let RunConfig { model, train: recipe } = RunConfig::preset("digits").unwrap();
        let config = RunConfig {
            model: ModelConfig { blocks: vec![1, 1], norm: Norm::Spectral { coeff: 0.5 }, ..model },
            train: TrainConfig { epochs: 3, shift: 0, validation: 100, ..recipe },
        };
        let mut record = RunRecord::new(&data, "digits", config, 0);
        let folder = tempfile::tempdir().unwrap();
        let dir = RunDir::create(folder.path(), &record, false).unwrap();
        let (_, progress, _) = train(&dir, &record, &data, &Device::flex(), &AtomicBool::new(false), &mut ()).unwrap();
        let (_, saved) = dir.load().unwrap();
        let (images, held_out) = data.train.hold_out(100);
        let mut again = saved.clone();
        let batches = Loader::evaluate(&images, &record.normalization, 64);
        again.recompute_head_statistics(batches.map(|batch| batch.images));
        let all = |model: &IResNet| [&model.state().running_mean[..], &model.state().running_var].concat();
        for (a, b) in all(&saved).into_iter().zip(all(&again)) {
            assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{a} {b}");
        }
        let errors: Vec<f64> = progress.epochs.iter().map(|e| e.validation_error_percent.unwrap()).collect();
        let last = error_percent(&saved, &held_out, &record.normalization, &mut |_, _| {});
        assert_eq!(errors.last(), Some(&last));
        assert_eq!(progress.best_error_percent, errors.into_iter().reduce(f64::min));
        record.train.validation = data.train.len();
        let error = train(&dir, &record, &data, &Device::flex(), &AtomicBool::new(false), &mut ()).unwrap_err();
        let wanted = "train.validation = 1433 is not usable: there are 1433 training images";
        assert_eq!(error.to_string(), wanted);
    }
}
