//! Parameters on the device.

use std::cell::RefCell;
use std::ops::Range;

use burn::Tensor;
use burn::tensor::{Device, Gradients};

use crate::transfer::read;

type Leaf = (Range<usize>, Tensor<1>);

/// Parts of a parameter vector as tensors of their own, made as they are asked for: on the way back, a slice of one tensor
/// would have a gradient as large as the whole.
pub(crate) struct Leaves<'a> {
    values: &'a [f32],
    device: &'a Device,
    /// With the range of each; none where no gradient is wanted.
    made: Option<RefCell<Vec<Leaf>>>,
}

impl<'a> Leaves<'a> {
    /// Constants.
    pub(crate) fn constant(values: &'a [f32], device: &'a Device) -> Self {
        Leaves { values, device, made: None }
    }

    /// Leaves of the autodiff graph, one backward pass from which must follow: the graph keeps what a forward pass leaves
    /// in it until then.
    pub(crate) fn tracked(values: &'a [f32], device: &'a Device) -> Self {
        Leaves { values, device, made: Some(RefCell::default()) }
    }

    /// The values in `range`.
    pub(crate) fn part(&self, range: Range<usize>) -> Tensor<1> {
        let tensor = Tensor::from_floats(&self.values[range.clone()], self.device);
        let Some(made) = &self.made else { return tensor };
        let leaf = tensor.require_grad();
        made.borrow_mut().push((range, leaf.clone()));
        leaf
    }

    /// Gradient of the vector; zero where no part was asked for.
    pub(crate) fn gradient(&self, grads: &Gradients) -> Vec<f32> {
        let mut gradient = vec![0.0; self.values.len()];
        let Some(made) = &self.made else { return gradient };
        let made = made.borrow();
        let parts = made.iter().map(|(_, leaf)| leaf.grad(grads).expect("every parameter takes part"));
        for ((range, _), part) in made.iter().zip(read(parts)) {
            gradient[range.clone()].copy_from_slice(&part);
        }
        gradient
    }
}
