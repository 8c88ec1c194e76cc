//! What networks are trained and images classified on.
//!
//! The CPU's own kernels are always there. Other devices are crates that implement [`Device`], such as `iresnet-burn` for
//! GPUs. Inverse, spectra and certificates run on the CPU always: they are made of its kernels and of float64.

use ndarray::ArrayView4;

use crate::model::{Differentiated, Dropout, IResNet, Output};

/// A device that differentiates and classifies.
pub trait Device: Send + Sync {
    /// What records call it, such as `cpu avx512` or `vulkan NVIDIA H100 PCIe`: results differ between devices by rounding.
    fn name(&self) -> String;

    /// Loss and gradients of one batch ([`IResNet::differentiate`]).
    fn differentiate(
        &self,
        model: &IResNet,
        images: ArrayView4<'_, f32>,
        labels: &[u32],
        dropout: Option<&Dropout>,
    ) -> Differentiated;

    /// Logits and latents in evaluation ([`IResNet::forward`]).
    fn forward(&self, model: &IResNet, images: ArrayView4<'_, f32>) -> Output;
}

/// The fused kernels on all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu;

impl Device for Cpu {
    /// `cpu`, and the level of instructions that the kernels use.
    fn name(&self) -> String {
        format!("cpu {:?}", iresnet_kernels::Level::current()).to_lowercase()
    }

    fn differentiate(
        &self,
        model: &IResNet,
        images: ArrayView4<'_, f32>,
        labels: &[u32],
        dropout: Option<&Dropout>,
    ) -> Differentiated {
        model.differentiate(images, labels, dropout)
    }

    fn forward(&self, model: &IResNet, images: ArrayView4<'_, f32>) -> Output {
        model.forward(images)
    }
}
