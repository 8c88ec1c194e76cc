//! How far a run is, and what its epochs came to.

use serde::{Deserialize, Serialize};

use crate::model::Memory;

/// One epoch, a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Learning rate at its start.
    pub learning_rate: f64,
    /// Mean cross-entropy on the training images, as they were augmented.
    pub train_loss: f64,
    /// Error on the training images, as they were augmented, in percent.
    pub train_error_percent: f64,
    /// Error on the held-out training images in percent, if there are any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_error_percent: Option<f64>,
    /// Error on the test images in percent.
    pub test_error_percent: f64,
    /// Seconds spent training (an interrupted epoch counts its last part only).
    pub seconds: f64,
    /// Largest `sigma` estimate among the convolutions in use, with spectral normalisation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub largest_sigma: Option<f64>,
    /// What was kept for the backward pass.
    #[serde(default)]
    pub memory: Memory,
    /// Largest resident memory of the process so far.
    #[serde(default)]
    pub peak_resident_bytes: u64,
    /// Blocks, over all steps, whose inverse did not converge, so that they were computed again.
    #[serde(default)]
    pub recomputed_blocks: usize,
}

/// How far a run is; travels in the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Whole epochs done.
    pub epoch: usize,
    /// Batches of the present epoch done.
    pub batch: usize,
    /// Optimiser steps done.
    pub step: u64,
    /// Sum of the losses of the present epoch's images.
    pub loss_sum: f64,
    /// Images of the present epoch that were classified rightly.
    pub correct: usize,
    /// Images of the present epoch seen.
    pub seen: usize,
    /// Smallest error so far of an epoch, in percent: on the held-out images, or on the test images if there are none.
    pub best_error_percent: Option<f64>,
    /// Blocks of the present epoch that were computed again because their inverse did not converge.
    #[serde(default)]
    pub recomputed_blocks: usize,
    /// Records of the epochs done.
    pub epochs: Vec<EpochRecord>,
}

impl RunState {
    /// Error of the present epoch so far on the training images, in percent.
    pub(super) fn train_error_percent(&self) -> f64 {
        100.0 * (1.0 - self.correct as f64 / self.seen as f64)
    }
}
