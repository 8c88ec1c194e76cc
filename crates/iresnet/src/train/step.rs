//! One step of training: batch, loss and gradients, sum over processes, update.

use super::optimizer::Sgd;
use super::record::RunRecord;
use crate::data::Batch;
use crate::device::Device;
use crate::model::{Differentiated, Dropout, DropoutKey, IResNet};

/// Sums over the processes that train one network together.
pub trait Reduce: Sync {
    /// Number in the step's whole batch of this process's first image, which its dropout is keyed by.
    fn first_image(&self) -> u32;

    /// Turns what this process found of its part of the batch into what all found of the whole batch.
    fn reduce(&self, own: Differentiated) -> Differentiated;
}

/// One process trains alone: its part is the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alone;

impl Reduce for Alone {
    fn first_image(&self) -> u32 {
        0
    }

    fn reduce(&self, own: Differentiated) -> Differentiated {
        own
    }
}

/// What a run trains on: a device, and the other processes.
#[derive(Clone, Copy)]
pub struct Together<'a> {
    /// The device of this process.
    pub device: &'a dyn Device,
    /// The sums over processes.
    pub reduce: &'a dyn Reduce,
}

impl<'a> Together<'a> {
    /// This process alone.
    pub fn alone(device: &'a dyn Device) -> Self {
        Together { device, reduce: &Alone }
    }
}

/// Makes step number `number` of the run `record` at this learning rate. A loss that is not finite changes nothing.
pub fn step(
    model: &mut IResNet,
    sgd: &mut Sgd,
    batch: &Batch,
    record: &RunRecord,
    number: u64,
    learning_rate: f64,
    on: Together<'_>,
) -> Differentiated {
    let layout = model.layout().clone();
    let images = layout.view(&batch.images);
    model.update_norms(1);
    model.initialise_actnorms(images);
    let probability = record.model.dropout;
    let key = DropoutKey { seed: record.seed, step: number, probability };
    let dropout = (probability > 0.0).then(|| Dropout::Drawn { key, first_image: on.reduce.first_image() });
    let own = on.device.differentiate(model, images, &batch.labels, dropout.as_ref());
    let result = on.reduce.reduce(own);
    if result.loss.is_finite() {
        sgd.step(model, &result.gradients, &record.train, learning_rate);
        model.track(&result);
    }
    result
}
