//! The fused trunk as one operation of burn's autodiff graph, with hand-written gradients.
//!
//! Images, parameters and their gradient travel in a [`Slot`], which is what keeps the graph from copying them. Back
//! ends without fused kernels use [`super::composed`] instead.

use std::sync::{Arc, Mutex};

use burn::Tensor;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::{Device, TensorData};

use super::memory::MemoryReport;
use super::tape::{BatchStatistics, Tape, TrainingPass};

/// One training pass: what goes in beside the parameters, what is kept, and what comes out beside the latent.
#[derive(Debug)]
pub(crate) struct Slot {
    pub pass: TrainingPass,
    /// NCHW.
    pub images: Vec<f32>,
    pub samples: usize,
    /// The trunk's parameters; only their gradient, which stays here too, is as large, so no copy of either is made.
    parameters: Arc<Vec<f32>>,
    gradient: Mutex<Vec<f32>>,
    tape: Mutex<Option<Tape>>,
    statistics: Mutex<BatchStatistics>,
    report: Mutex<MemoryReport>,
}

/// A [`Slot`] shared between the two directions.
pub(crate) type SharedSlot = Arc<Slot>;

impl Slot {
    pub(crate) fn new(pass: TrainingPass, parameters: Arc<Vec<f32>>, images: Vec<f32>, samples: usize) -> SharedSlot {
        let (gradient, tape, statistics, report) = Default::default();
        Arc::new(Slot { pass, images, samples, parameters, gradient, tape, statistics, report })
    }

    /// Statistics of the batch, once the forward pass has run.
    pub(crate) fn take_statistics(&self) -> BatchStatistics {
        std::mem::take(&mut self.statistics.lock().expect("no pass panicked"))
    }

    /// Gradient of the parameters, once the backward pass has run.
    pub(crate) fn take_gradient(&self) -> Vec<f32> {
        std::mem::take(&mut self.gradient.lock().expect("no pass panicked"))
    }

    /// What the backward pass had to make again, once it has run.
    pub(crate) fn report(&self) -> MemoryReport {
        *self.report.lock().expect("no pass panicked")
    }
}

/// Back ends with fused kernels for the trunk.
pub(crate) trait TrunkKernels: Backend {
    fn trunk_forward(slot: &Slot) -> FloatTensor<Self>;
    fn trunk_backward(gradient: FloatTensor<Self>, slot: &Slot);
}

/// The trunk as a differentiable operation.
#[backend_extension(Autodiff, Flex)]
pub(crate) trait TrunkBackend: Backend {
    /// Latent `[n, C, H, W]` of the slot's images. `root` is any tensor that wants a gradient: it makes the graph visit
    /// this operation on the way back, which leaves the parameters' gradient in the slot, and gets none itself.
    fn trunk(root: FloatTensor<Self>, slot: SharedSlot) -> FloatTensor<Self>;
}

/// The values of a tensor that `to_contiguous` made.
fn floats(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("a contiguous float32 tensor")
}

impl TrunkKernels for Flex {
    fn trunk_forward(slot: &Slot) -> FlexTensor {
        let (latent, tape, statistics) = slot.pass.forward(&slot.images, &slot.parameters);
        *slot.tape.lock().expect("no pass panicked") = Some(tape);
        *slot.statistics.lock().expect("no pass panicked") = statistics;
        let shape = slot.pass.layout.latent;
        FlexTensor::from_data(TensorData::new(latent, [slot.samples, shape.channels, shape.height, shape.width]))
    }

    fn trunk_backward(gradient: FlexTensor, slot: &Slot) {
        let tape = slot.tape.lock().expect("no pass panicked").take();
        let tape = tape.expect("one backward pass follows one forward pass");
        let (gradient, report) = tape.backward(floats(&gradient.to_contiguous()), &slot.parameters);
        *slot.gradient.lock().expect("no pass panicked") = gradient;
        *slot.report.lock().expect("no pass panicked") = report;
    }
}

impl TrunkBackend for Flex {
    fn trunk(_root: FlexTensor, slot: SharedSlot) -> FlexTensor {
        Self::trunk_forward(&slot)
    }
}

/// The backward step; its state is the slot.
#[derive(Debug)]
struct TrunkBackward;

impl<B: TrunkKernels> Backward<B, 1> for TrunkBackward {
    type State = SharedSlot;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        B::trunk_backward(gradient, &ops.state);
    }
}

impl<B: TrunkKernels, C: CheckpointStrategy> TrunkBackend for Autodiff<B, C> {
    fn trunk(root: FloatTensor<Self>, slot: SharedSlot) -> FloatTensor<Self> {
        let (_, guard) = root.into_parts();
        let latent = B::trunk_forward(&slot);
        match TrunkBackward.prepare::<C>([guard]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(slot, latent),
            OpsKind::UnTracked(prep) => prep.finish(latent),
        }
    }
}

/// Latent `[n, C, H, W]` of a training pass; a backward pass from it leaves the parameters' gradient in the slot.
pub(crate) fn trunk(slot: SharedSlot, device: &Device) -> Tensor<4> {
    use burn::backend::Dispatch;
    let root = Tensor::<1>::zeros([1], device).require_grad();
    Tensor::from_dispatch(Dispatch::trunk(root.into_dispatch(), slot))
}
