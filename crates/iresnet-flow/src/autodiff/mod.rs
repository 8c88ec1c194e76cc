//! Training passes: a chain forward, and back with gradients of its parameters, in as much memory as one wants to give.
//!
//! What the backward pass needs of a layer is its input and what happened inside. [`Memory`] says which of these are kept;
//! the others are made again: from a layer's output by the inverse, or from the nearest kept input by the layers in
//! between. What is recovered has errors of about float32's rounding, which gradients would feel only where a value changes
//! sides of ReLU's kink: the sides of the few values near zero are kept. Kernels are prepared for a few layers at a time
//! and dropout masks replayed, so that nothing but kept activations grows with depth.

mod memory;
mod pool;
mod step;
mod tape;

pub use memory::{Memory, MemoryReport};
pub use pool::Pool;
pub use step::{Inner, Kinks, Recovered, Step, TrainedLayer};
pub use tape::Tape;
