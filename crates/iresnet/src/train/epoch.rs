//! What ends an epoch: converged power iterations, the head's statistics, errors, a record.

use super::error::RunError;
use super::record::RunRecord;
use super::state::{EpochRecord, RunState};
use crate::config::Norm;
use crate::data::{Augmentation, Dataset, Loader};
use crate::evaluate::error_percent;
use crate::model::{IResNet, peak_resident_bytes};

/// Power iterations at the end of an epoch, when weights are about to be evaluated and saved: many, for largest singular
/// values that lie close together.
const FINAL_POWER_ITERATIONS: usize = 100;
/// Training images, at least, whose latents give the head its statistics at the end of an epoch; fewer if there are
/// fewer.
const HEAD_STATISTICS_IMAGES: usize = 2048;

/// Images of a run: trained on, held out, tested on.
pub(super) struct Images<'a> {
    pub train: Dataset,
    pub held_out: Dataset,
    pub test: &'a Dataset,
}

impl Images<'_> {
    /// Batches of an epoch.
    pub(super) fn batches(&self, record: &RunRecord, epoch: usize, first: usize) -> Loader {
        let recipe = &record.train;
        let augmentation = Augmentation { shift: recipe.shift, flip: recipe.flip };
        let (normalization, seed) = (&record.normalization, record.seed);
        Loader::train(&self.train, normalization, augmentation, recipe.batch_size, seed, epoch as u64, first)
    }
}

/// Makes the weights ready to be saved and tested, and books the epoch; says whether it is the best so far.
///
/// # Errors
/// Weights that are no longer finite.
pub(super) fn finish(
    model: &mut IResNet,
    record: &RunRecord,
    images: &Images<'_>,
    state: &mut RunState,
    seconds: f64,
) -> Result<bool, RunError> {
    model.update_norms(FINAL_POWER_ITERATIONS);
    let batch_size = record.train.batch_size;
    let some = images.batches(record, state.epoch, 0).take(HEAD_STATISTICS_IMAGES.div_ceil(batch_size));
    model.recompute_head_statistics(some.map(|batch| batch.images));
    // A step can take weights out of range after the last loss that is looked at; such are not saved.
    if !model.is_finite() {
        let step = images.train.len().div_ceil(batch_size);
        return Err(RunError::Diverged { loss: f32::NAN, epoch: state.epoch + 1, step });
    }
    let error_on = |images: &Dataset| error_percent(model, images, &record.normalization, None);
    let test_error_percent = error_on(images.test);
    let validation_error_percent = (!images.held_out.is_empty()).then(|| error_on(&images.held_out));
    let choosing = validation_error_percent.unwrap_or(test_error_percent);
    let best = state.best_error_percent.is_none_or(|best| choosing < best);
    let epoch = EpochRecord {
        epoch: state.epoch + 1,
        learning_rate: record.train.learning_rate_at(state.epoch as f64),
        train_loss: state.loss_sum / state.seen as f64,
        train_error_percent: state.train_error_percent(),
        validation_error_percent,
        test_error_percent,
        seconds,
        largest_sigma: largest_sigma(model),
        memory: record.memory,
        peak_resident_bytes: peak_resident_bytes(),
        recomputed_blocks: state.recomputed_blocks,
    };
    *state = RunState {
        epoch: state.epoch + 1,
        step: state.step,
        best_error_percent: if best { Some(choosing) } else { state.best_error_percent },
        epochs: std::mem::take(&mut state.epochs),
        ..RunState::default()
    };
    state.epochs.push(epoch);
    Ok(best)
}

/// Largest estimate among the weights in use: that of the weights as they are where they are left alone.
fn largest_sigma(model: &IResNet) -> Option<f64> {
    let Norm::Spectral { coeff } = model.config().norm else { return None };
    let sigmas = model.state().power.iter().map(|power| in_use(f64::from(power.sigma), coeff));
    sigmas.reduce(f64::max)
}

/// The estimate of `W~ = W min(1, c / sigma)`, rounded as the weights are: a factor that rounds up leaves it above c.
fn in_use(sigma: f64, coeff: f64) -> f64 {
    let factor = f64::from(crate::model::weights_in_use::spectral_factor(coeff, sigma as f32));
    sigma * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A claim that no estimate exceeds c would be made by clamping, not by measuring.
    #[test]
    fn the_largest_sigma_is_what_the_factor_leaves() {
        assert_eq!(in_use(0.25, 0.9), 0.25);
        let above = (1..1000).map(|i| in_use(f64::from(0.9f32 + i as f32 * 1e-3), 0.9)).fold(0.0, f64::max);
        // The factor is rounded to float32: by half a unit in the last place.
        assert!(above > 0.9 && above < 0.9 * (1.0 + 6e-8), "{above}");
    }
}
