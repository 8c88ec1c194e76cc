//! The convolution of the trunk: the framework's, with gradients of its parameters that suit a GPU.
//!
//! The framework makes the gradient of the weights by a convolution whose kernels are as large as the images: it has as
//! many results as there are weights, each summed in sequence, and took two thirds of a training step on a GPU. Here each
//! image's gradient is a matrix product, `dy [K, H W]` times `unfold(x) [H W, C k k]`, all of them are made at once and
//! then summed over the images. One layer at a time, that takes `k k` times the memory of its input.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Shape, TensorData};

/// Convolution with stride 1 and zero padding that keeps the size.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "gpu"))]
pub(crate) trait ConvolutionBackend: Backend {
    /// `[n, K, H, W]` of `x [n, C, H, W]`, `weight [K, C, k, k]` and `bias [K]`, k odd.
    fn same_convolution(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn same_size(kernel: usize, groups: usize) -> ConvOptions<2> {
    ConvOptions::new([1, 1], [kernel / 2, kernel / 2], [1, 1], groups)
}

fn convolution<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    let kernel = weight.shape()[2];
    B::conv2d(x, weight, Some(bias), same_size(kernel, 1))
}

impl ConvolutionBackend for Flex {
    fn same_convolution(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        convolution::<Self>(x, weight, bias)
    }
}

#[cfg(feature = "gpu")]
impl ConvolutionBackend for burn::backend::Cube {
    fn same_convolution(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        convolution::<Self>(x, weight, bias)
    }
}

/// `[n, H W, C k k]`: every channel shifted by each of the kernel's offsets, zeros outside; a convolution of each channel
/// by kernels with a single one, which is one call where slices are one call a shift. Channels are last, as the back end
/// of the GPU leaves a convolution's results, so that nothing is copied there.
fn unfold<B: Backend>(x: FloatTensor<B>, kernel: usize) -> FloatTensor<B> {
    let [n, c, h, w] = x.shape().dims();
    let taps = kernel * kernel;
    let shifted = match kernel {
        1 => x,
        _ => {
            let ones = (0..c * taps * taps).map(|i| if i / taps % taps == i % taps { 1.0f32 } else { 0.0 });
            let ones = TensorData::new(ones.collect(), [c * taps, 1, kernel, kernel]);
            let ones = B::float_from_data(ones, &x.device());
            B::conv2d(x, ones, None, same_size(kernel, c))
        }
    };
    B::float_reshape(B::float_permute(shifted, &[0, 2, 3, 1]), Shape::new([n, h * w, c * taps]))
}

/// Gradient of the weights `[K, C, k, k]`.
fn weight_gradient<B: Backend>(x: FloatTensor<B>, dy: FloatTensor<B>, weight: Shape) -> FloatTensor<B> {
    let [n, k, h, w] = dy.shape().dims();
    let dy = B::float_reshape(dy, Shape::new([n, k, h * w]));
    let products = B::float_matmul(dy, unfold::<B>(x, weight[2]));
    B::float_reshape(B::float_sum_dim(products, 0), weight)
}

/// Gradient of the bias `[K]`.
fn bias_gradient<B: Backend>(dy: FloatTensor<B>) -> FloatTensor<B> {
    let [n, k, h, w] = dy.shape().dims();
    let of_images = B::float_sum_dim(B::float_reshape(dy, Shape::new([n, k, h * w])), 2);
    B::float_reshape(B::float_sum_dim(of_images, 0), Shape::new([k]))
}

/// The backward step; its state is the input and the weights.
#[derive(Debug)]
struct ConvolutionBackward;

impl<B: Backend> Backward<B, 3> for ConvolutionBackward {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let [of_x, of_weight, of_bias] = ops.parents;
        let (x, weight) = ops.state;
        let shape = weight.shape();
        if let Some(node) = of_x {
            grads.register::<B>(node.id, B::conv2d_x_backward(x.clone(), weight, dy.clone(), same_size(shape[2], 1)));
        }
        if let Some(node) = of_weight {
            grads.register::<B>(node.id, weight_gradient::<B>(x, dy.clone(), shape));
        }
        if let Some(node) = of_bias {
            grads.register::<B>(node.id, bias_gradient::<B>(dy));
        }
    }
}

impl<B: ConvolutionBackend, C: CheckpointStrategy> ConvolutionBackend for Autodiff<B, C> {
    fn same_convolution(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let y = B::same_convolution(x.clone(), weight.clone(), bias);
        match ConvolutionBackward.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// [`ConvolutionBackend::same_convolution`] of tensors.
pub(crate) fn same_convolution(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    use burn::backend::Dispatch;
    Tensor::from_dispatch(Dispatch::same_convolution(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use burn::tensor::module::conv2d;

    use super::*;

    /// Numbers without a pattern in `[-0.5, 0.5)`.
    fn numbers<const D: usize>(shape: [usize; D], factor: usize, device: &Device) -> Tensor<D> {
        let len = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..len).map(|i| ((i + 1) * factor % 1013) as f32 / 1013.0 - 0.5).collect();
        Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
    }

    fn close<const D: usize>(what: &str, ours: Tensor<D>, theirs: Tensor<D>) {
        assert_eq!(ours.dims(), theirs.dims(), "{what}");
        let read = |x: Tensor<D>| x.into_data().try_into_vec::<f32>().unwrap();
        for (a, b) in read(ours).into_iter().zip(read(theirs)) {
            // Sums of at most 300 terms below 1/4, in another order.
            assert!((a - b).abs() <= 1e-4, "{what}: {a} {b}");
        }
    }

    /// Odd kernels, larger than the image too, on images that are not square.
    #[test]
    fn gradients_are_the_frameworks() {
        let device = Device::flex().autodiff();
        for kernel in [1, 3, 5, 7] {
            for (h, w) in [(6, 9), (2, 3)] {
                let run = |ours: bool| {
                    let x = numbers([4, 3, h, w], 7919, &device).require_grad();
                    let weight = numbers([5, 3, kernel, kernel], 6007, &device).require_grad();
                    let bias = numbers([5], 523, &device).require_grad();
                    let y = match ours {
                        true => same_convolution(x.clone(), weight.clone(), bias.clone()),
                        false => conv2d(x.clone(), weight.clone(), Some(bias.clone()), same_size(kernel, 1)),
                    };
                    let grads = (y.clone() * numbers(y.dims(), 3571, &device)).sum().backward();
                    let gradients = (x.grad(&grads), weight.grad(&grads), bias.grad(&grads));
                    (y.inner(), gradients.0.unwrap(), gradients.1.unwrap(), gradients.2.unwrap())
                };
                let ((y, x, weight, bias), theirs) = (run(true), run(false));
                let what = |part: &str| format!("{part}, kernel {kernel} on {h}x{w}");
                close(&what("result"), y, theirs.0);
                close(&what("input"), x, theirs.1);
                close(&what("weight"), weight, theirs.2);
                close(&what("bias"), bias, theirs.3);
            }
        }
    }

    #[test]
    fn constants_have_no_gradient() {
        let device = Device::flex().autodiff();
        let weight = numbers([2, 3, 3, 3], 6007, &device).require_grad();
        let (x, bias) = (numbers([2, 3, 4, 4], 7919, &device), numbers([2], 523, &device));
        let grads = same_convolution(x.clone(), weight.clone(), bias.clone()).sum().backward();
        assert!(weight.grad(&grads).is_some() && x.grad(&grads).is_none() && bias.grad(&grads).is_none());
        assert!(!same_convolution(x.clone(), weight.inner().autodiff(), bias).is_tracked());
    }
}
