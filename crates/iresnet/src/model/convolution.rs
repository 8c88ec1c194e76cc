//! The convolution of the composed trunk: the framework's, with gradients of its parameters that suit a GPU.
//!
//! The framework makes the gradient of the weights by a convolution whose kernels are as large as the images: it has as
//! many results as there are weights, each summed in sequence, and took two thirds of a training step on a GPU. Here each
//! image's gradient is a matrix product, `dy [K, H W]` times `unfold(x)^T [H W, C k k]`, all of them are made at once and
//! then summed over the images.

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

fn options(weight: &Shape) -> ConvOptions<2> {
    ConvOptions::new([1, 1], [weight[2] / 2, weight[3] / 2], [1, 1], 1)
}

fn convolution<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    let options = options(&weight.shape());
    B::conv2d(x, weight, Some(bias), options)
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

/// `[n, C k k, H W]`: every channel shifted by each of the kernel's offsets, zeros outside; a convolution of each channel
/// by kernels with a single one, which is one call where slices are one call a shift.
fn unfold<B: Backend>(x: FloatTensor<B>, kernel: usize) -> FloatTensor<B> {
    let [n, c, h, w] = x.shape().dims();
    if kernel == 1 {
        return B::float_reshape(x, Shape::new([n, c, h * w]));
    }
    let taps = kernel * kernel;
    let ones = (0..c * taps * taps).map(|i| if i / taps % taps == i % taps { 1.0f32 } else { 0.0 });
    let ones = B::float_from_data(TensorData::new(ones.collect(), [c * taps, 1, kernel, kernel]), &x.device());
    let shifted = B::conv2d(x, ones, None, ConvOptions::new([1, 1], [kernel / 2, kernel / 2], [1, 1], c));
    B::float_reshape(shifted, Shape::new([n, c * taps, h * w]))
}

/// Gradient of the weights `[K, C, k, k]`.
fn weight_gradient<B: Backend>(x: FloatTensor<B>, dy: FloatTensor<B>, weight: Shape) -> FloatTensor<B> {
    let [n, k, h, w] = dy.shape().dims();
    let dy = B::float_reshape(dy, Shape::new([n, k, h * w]));
    let products = B::float_matmul(dy, B::float_transpose(unfold::<B>(x, weight[2])));
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
            grads.register::<B>(node.id, B::conv2d_x_backward(x.clone(), weight, dy.clone(), options(&shape)));
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
