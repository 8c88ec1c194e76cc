//! The fused trunk as one operation of burn's autodiff graph, with hand-written gradients.
//!
//! The images and everything else that is not differentiated travel in a [`Slot`]; the one differentiable input is
//! the trunk's flat parameters. Back ends without fused kernels use [`super::composed`] instead.

use std::sync::{Arc, Mutex};

use burn::Tensor;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::TensorData;

use super::memory::MemoryReport;
use super::tape::{BatchStatistics, Tape, TrainingPass};

/// One training pass: what goes in beside the parameters, what is kept, and what comes out beside the latent.
#[derive(Debug)]
pub(crate) struct Slot {
    pub pass: TrainingPass,
    /// NCHW.
    pub images: Vec<f32>,
    pub samples: usize,
    tape: Mutex<Option<Tape>>,
    statistics: Mutex<BatchStatistics>,
    report: Mutex<MemoryReport>,
}

/// A [`Slot`] shared between the two directions.
pub(crate) type SharedSlot = Arc<Slot>;

impl Slot {
    pub(crate) fn new(pass: TrainingPass, images: Vec<f32>, samples: usize) -> SharedSlot {
        let (tape, statistics, report) = Default::default();
        Arc::new(Slot { pass, images, samples, tape, statistics, report })
    }

    /// Statistics of the batch, once the forward pass has run.
    pub(crate) fn take_statistics(&self) -> BatchStatistics {
        std::mem::take(&mut self.statistics.lock().expect("no pass panicked"))
    }

    /// What the backward pass had to make again, once it has run.
    pub(crate) fn report(&self) -> MemoryReport {
        *self.report.lock().expect("no pass panicked")
    }
}

/// Back ends with fused kernels for the trunk.
pub(crate) trait TrunkKernels: Backend {
    fn trunk_forward(parameters: &FloatTensor<Self>, slot: &Slot) -> FloatTensor<Self>;
    fn trunk_backward(gradient: FloatTensor<Self>, parameters: &FloatTensor<Self>, slot: &Slot) -> FloatTensor<Self>;
}

/// The trunk as a differentiable operation.
#[backend_extension(Autodiff, Flex)]
pub(crate) trait TrunkBackend: Backend {
    /// `[trunk parameters]` to latent `[n, C, H, W]`.
    fn trunk(parameters: FloatTensor<Self>, slot: SharedSlot) -> FloatTensor<Self>;
}

/// The values of a tensor that `to_contiguous` made.
fn floats(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("a contiguous float32 tensor")
}

impl TrunkKernels for Flex {
    fn trunk_forward(parameters: &FlexTensor, slot: &Slot) -> FlexTensor {
        let (latent, tape, statistics) = slot.pass.forward(&slot.images, floats(&parameters.to_contiguous()));
        *slot.tape.lock().expect("no pass panicked") = Some(tape);
        *slot.statistics.lock().expect("no pass panicked") = statistics;
        let shape = slot.pass.layout.latent;
        FlexTensor::from_data(TensorData::new(latent, [slot.samples, shape.channels, shape.height, shape.width]))
    }

    fn trunk_backward(gradient: FlexTensor, parameters: &FlexTensor, slot: &Slot) -> FlexTensor {
        let tape = slot.tape.lock().expect("no pass panicked").take();
        let tape = tape.expect("one backward pass follows one forward pass");
        let (gradient, report) = tape.backward(floats(&gradient.to_contiguous()), floats(&parameters.to_contiguous()));
        *slot.report.lock().expect("no pass panicked") = report;
        let len = gradient.len();
        FlexTensor::from_data(TensorData::new(gradient, [len]))
    }
}

impl TrunkBackend for Flex {
    fn trunk(parameters: FlexTensor, slot: SharedSlot) -> FlexTensor {
        Self::trunk_forward(&parameters, &slot)
    }
}

/// The backward step; its state is the slot and the parameters.
#[derive(Debug)]
struct TrunkBackward;

impl<B: TrunkKernels> Backward<B, 1> for TrunkBackward {
    type State = (SharedSlot, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (slot, parameters) = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::trunk_backward(gradient, &parameters, &slot));
        }
    }
}

impl<B: TrunkKernels, C: CheckpointStrategy> TrunkBackend for Autodiff<B, C> {
    fn trunk(parameters: FloatTensor<Self>, slot: SharedSlot) -> FloatTensor<Self> {
        let (parameters, guard) = parameters.into_parts();
        let latent = B::trunk_forward(&parameters, &slot);
        match TrunkBackward.prepare::<C>([guard]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((slot, parameters), latent),
            OpsKind::UnTracked(prep) => prep.finish(latent),
        }
    }
}

/// Latent `[n, C, H, W]` of a training pass, differentiable with respect to `parameters`.
pub(crate) fn trunk(parameters: Tensor<1>, slot: SharedSlot) -> Tensor<4> {
    use burn::backend::Dispatch;
    Tensor::from_dispatch(Dispatch::trunk(parameters.into_dispatch(), slot))
}
