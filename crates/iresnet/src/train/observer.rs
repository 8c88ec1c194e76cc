//! What is told of a run while it goes.

use super::state::EpochRecord;

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
