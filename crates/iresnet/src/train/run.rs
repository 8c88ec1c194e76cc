//! A whole run: from its checkpoint, or from the start, to its last epoch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::epoch::{Images, finish};
use super::error::RunError;
use super::folder::RunDir;
use super::observer::{BatchReport, Observer};
use super::optimizer::Sgd;
use super::record::RunRecord;
use super::state::RunState;
use super::step::{Together, step};
use crate::config::ConfigError;
use crate::data::{Batch, Split};
use crate::model::{Differentiated, IResNet};

/// Time between checkpoints within an epoch.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(120);

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
    on: Together<'_>,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<(IResNet, RunState, Ended), RunError> {
    record.check(data)?;
    let (train, held_out) = data.train.hold_out(record.train.validation);
    let images = Images { train, held_out, test: &data.test };
    let _lock = dir.lock()?;
    let (mut model, mut sgd, mut state) = begin(dir, record)?;
    let mut saved = Instant::now();
    while state.epoch < record.train.epochs {
        let started = Instant::now();
        for batch in images.batches(record, state.epoch, state.batch) {
            let batches = images.train.len().div_ceil(record.train.batch_size);
            let done = state.epoch as f64 + state.batch as f64 / batches as f64;
            let rate = record.train.learning_rate_at(done);
            let result = step(&mut model, &mut sgd, &batch, record, state.step, rate, on);
            if !result.loss.is_finite() {
                let (loss, epoch, step) = (result.loss, state.epoch + 1, state.batch + 1);
                return Err(RunError::Diverged { loss, epoch, step });
            }
            state.count(&batch, &result);
            observer.batch(&report(&state, record, batches));
            let stopping = stop.load(Ordering::Relaxed);
            if stopping || saved.elapsed() > CHECKPOINT_INTERVAL {
                dir.save_checkpoint(&model, &sgd, &state)?;
                saved = Instant::now();
            }
            if stopping {
                return Ok((model, state, Ended::Stopped));
            }
        }
        let best = finish(&mut model, record, &images, &mut state, started.elapsed().as_secs_f64())?;
        // The checkpoint is last: until it is written, a resumed run does this epoch's end again.
        dir.save_weights(&model, best)?;
        dir.save_metrics(&state.epochs)?;
        dir.save_checkpoint(&model, &sgd, &state)?;
        saved = Instant::now();
        observer.epoch(state.epochs.last().expect("just pushed"), record.train.epochs);
    }
    Ok((model, state, Ended::Finished))
}

/// The network, its momentum and how far it is: from the folder's files, or new.
fn begin(dir: &RunDir, record: &RunRecord) -> Result<(IResNet, Sgd, RunState), RunError> {
    let mut model = record.model.init(record.input, record.seed)?;
    model
        .set_memory(record.memory)
        .map_err(|e| ConfigError::Parse { source_name: "memory".into(), message: e.to_string() })?;
    let mut sgd = Sgd::new(&model);
    let begun = match dir.load_checkpoint(&mut model, &mut sgd)? {
        Some(state) => Some(state),
        None => dir.load_finished(&mut model, record.train.epochs)?,
    };
    if begun.as_ref().is_some_and(|state| state.epoch > 0 && state.batch == 0) {
        // Weights that were lost since.
        dir.restore_weights(&model)?;
    }
    if begun.is_none() {
        // Weights are never without a checkpoint, then, whenever a run is killed.
        dir.save_checkpoint(&model, &sgd, &RunState::default())?;
    }
    Ok((model, sgd, begun.unwrap_or_default()))
}

impl RunState {
    /// Books a step.
    fn count(&mut self, batch: &Batch, result: &Differentiated) {
        self.batch += 1;
        self.step += 1;
        self.loss_sum += f64::from(result.loss) * batch.labels.len() as f64;
        self.correct += result.correct;
        self.seen += batch.labels.len();
        self.recomputed_blocks += result.memory.recomputed;
    }
}

fn report(state: &RunState, record: &RunRecord, batches: usize) -> BatchReport {
    BatchReport {
        epoch: state.epoch + 1,
        epochs: record.train.epochs,
        batch: state.batch,
        batches,
        loss: state.loss_sum / state.seen as f64,
        error_percent: state.train_error_percent(),
    }
}
