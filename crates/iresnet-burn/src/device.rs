//! A device of burn as a device of `iresnet`.

use burn::Tensor;
use burn::tensor::TensorData;
use iresnet::device::Device;
use iresnet::model::{Differentiated, Dropout, Gradients, IResNet, MemoryReport, Output, count_correct};
use ndarray::{Array2, Array4, ArrayView4};

use crate::head::{cross_entropy, logits};
use crate::normalization::{Recorded, Statistics};
use crate::parameters::Leaves;
use crate::transfer::read;
use crate::trunk::Trunk;
use crate::vulkan::{self, DeviceError};

/// A back end of burn that differentiates and classifies.
#[derive(Clone, Debug)]
pub struct Burn {
    device: burn::tensor::Device,
    name: String,
}

impl Burn {
    /// The CPU by burn's back end Flex. It is the slower way there ([`iresnet::device::Cpu`] is the fast one), and an
    /// independent one.
    pub fn flex() -> Self {
        Burn { device: burn::tensor::Device::flex(), name: "burn flex".into() }
    }

    /// The first GPU that has a Vulkan driver, discrete ones before integrated ones; where there is none, a software
    /// renderer. It stays open until the process ends.
    ///
    /// # Errors
    /// A build without the feature `gpu`, a machine without a driver, a driver that refuses.
    pub fn vulkan() -> Result<Self, DeviceError> {
        let (device, name) = vulkan::open()?;
        Ok(Burn { device, name })
    }
}

/// `images` on `device`.
///
/// # Panics
/// If they are not those of the network's input.
fn transferred(model: &IResNet, images: ArrayView4<'_, f32>, device: &burn::tensor::Device) -> Tensor<4> {
    let ((n, c, h, w), shape) = (images.dim(), model.layout().image());
    let wanted = [shape.channels, shape.height, shape.width];
    assert_eq!([c, h, w], wanted, "channels, height and width of the images and of the network");
    let values: Vec<f32> = images.iter().copied().collect();
    Tensor::from_data(TensorData::new(values, [n, c, h, w]), device)
}

impl Device for Burn {
    fn name(&self) -> String {
        self.name.clone()
    }

    /// Keeps all activations for the backward pass, so that the report on memory is empty.
    fn differentiate(
        &self,
        model: &IResNet,
        images: ArrayView4<'_, f32>,
        labels: &[u32],
        dropout: Option<&Dropout>,
    ) -> Differentiated {
        let (layout, device) = (model.layout(), self.device.clone().autodiff());
        let (n, classes) = (images.dim().0, layout.input.classes);
        assert_eq!(n, labels.len(), "images and labels");
        assert!(labels.iter().all(|l| (*l as usize) < classes), "a label is not below the {classes} classes");
        let images = transferred(model, images, &device);
        let trunk = Leaves::tracked(model.trunk_parameters(), &device);
        let head = Leaves::tracked(model.head_parameters(), &device);
        let mut recorded = Recorded::default();
        let statistics = &mut Statistics::Batch(&mut recorded);
        let latent = Trunk { model, parameters: &trunk, dropout }.forward(images, statistics);
        let logits = logits(model, &head, latent, statistics);
        let loss = cross_entropy(logits.clone(), labels);
        let grads = loss.backward();
        let [loss, logits] = values([loss.inner(), logits.inner().reshape([n * classes])]);
        Differentiated {
            loss: loss[0],
            correct: count_correct(&logits, labels),
            logits,
            gradients: Gradients { trunk: trunk.gradient(&grads), head: head.gradient(&grads) },
            memory: MemoryReport::default(),
            statistics: recorded.read(layout.statistics_len + layout.latent.channels),
        }
    }

    fn forward(&self, model: &IResNet, images: ArrayView4<'_, f32>) -> Output {
        let (layout, n) = (model.layout(), images.dim().0);
        let images = transferred(model, images, &self.device);
        let trunk = Leaves::constant(model.trunk_parameters(), &self.device);
        let head = Leaves::constant(model.head_parameters(), &self.device);
        let statistics = &mut Statistics::Running(model.state());
        let latent = Trunk { model, parameters: &trunk, dropout: None }.forward(images, statistics);
        let logits = logits(model, &head, latent.clone(), statistics);
        let (classes, shape) = (layout.input.classes, layout.latent);
        let [logits, latent] = values([logits.reshape([n * classes]), latent.reshape([n * shape.len()])]);
        Output {
            logits: Array2::from_shape_vec((n, classes), logits).expect("a row an image"),
            latent: Array4::from_shape_vec((n, shape.channels, shape.height, shape.width), latent)
                .expect("whole latents"),
        }
    }
}

/// The values of two tensors.
fn values(tensors: [Tensor<1>; 2]) -> [Vec<f32>; 2] {
    let values: Vec<Vec<f32>> = read(tensors).collect();
    values.try_into().expect("as many as were asked for")
}

#[cfg(test)]
mod tests {
    use iresnet::model::{Input, ModelConfig};

    use super::*;

    fn model() -> IResNet {
        let config = ModelConfig { blocks: vec![1], ..ModelConfig::preset("digits").unwrap() };
        config.init(Input { channels: 2, height: 4, width: 6, classes: 3 }, 0).unwrap()
    }

    #[test]
    fn views_of_any_order_are_read_as_the_images_they_are() {
        let images = Array4::from_shape_fn((2, 2, 4, 6), |(n, c, y, x)| (n + 2 * c + 3 * y) as f32 / (x + 1) as f32);
        let transposed = images.view().permuted_axes([0, 1, 3, 2]).as_standard_layout().into_owned();
        let (one, other) = (
            Burn::flex().forward(&model(), images.view()),
            Burn::flex().forward(&model(), transposed.view().permuted_axes([0, 1, 3, 2])),
        );
        assert_eq!(one.logits, other.logits);
        assert_eq!(one.latent.dim(), (2, model().layout().latent.channels, 4, 6));
    }

    #[test]
    #[should_panic(expected = "channels, height and width of the images and of the network")]
    fn images_of_another_size_are_refused() {
        Burn::flex().forward(&model(), Array4::zeros((1, 2, 6, 4)).view());
    }

    #[test]
    #[should_panic(expected = "a label is not below the 3 classes")]
    fn classes_that_are_not_there_are_refused() {
        Burn::flex().differentiate(&model(), Array4::zeros((1, 2, 4, 6)).view(), &[3], None);
    }

    #[cfg(not(feature = "gpu"))]
    #[test]
    fn a_build_without_vulkan_says_how_to_make_one_with_it() {
        let error = Burn::vulkan().unwrap_err();
        assert_eq!(error, DeviceError::NotBuilt);
        assert!(error.to_string().contains("feature `gpu`"), "{error}");
    }
}
