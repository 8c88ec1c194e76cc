//! The activations κ of the branches and of the head.

use burn::Tensor;
use burn::tensor::activation::{relu, sigmoid};
use iresnet::model::Activation;

/// κ of every value.
pub(crate) fn activate(x: Tensor<4>, kind: Activation) -> Tensor<4> {
    match kind {
        Activation::Relu => relu(x),
        // exp only sees the negative part, so that large inputs stay finite.
        Activation::Elu => relu(x.clone()) + (x.clamp_max(0.0).exp() - 1.0),
        Activation::Softplus => relu(x.clone()) + (x.abs().neg().exp() + 1.0).log(),
        Activation::LipSwish => sigmoid(x.clone()) * x / 1.1,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Values and derivatives far out, where an exponential of the input would overflow.
    #[test]
    fn large_inputs_stay_finite() {
        for (kind, expected) in [
            (Activation::Relu, [0.0, 200.0]),
            (Activation::Elu, [-1.0, 200.0]),
            (Activation::Softplus, [0.0, 200.0]),
            (Activation::LipSwish, [0.0, 200.0 / 1.1]),
        ] {
            let x = Tensor::<1>::from_floats([-200.0, 200.0], &Device::flex().autodiff()).require_grad();
            let y = activate(x.clone().reshape([1, 1, 1, 2]), kind);
            let gradient = x.grad(&y.clone().sum().backward()).unwrap().into_data().try_into_vec::<f32>().unwrap();
            let values = y.inner().into_data().try_into_vec::<f32>().unwrap();
            let slope = expected[1] / 200.0;
            // The limits are reached to the last bits at 200.
            for (ours, limit) in values.iter().chain(&gradient).zip([expected[0], expected[1], 0.0, slope]) {
                assert!((ours - limit).abs() <= 1e-6 * limit.abs().max(1.0), "{kind:?}: {ours}, not {limit}");
            }
        }
    }
}
