//! Values from the device.

use burn::Tensor;
use burn::tensor::Transaction;

/// The values of each tensor, in one transfer: a device that is waited for after each has nothing to do.
pub(crate) fn read(tensors: impl IntoIterator<Item = Tensor<1>>) -> impl Iterator<Item = Vec<f32>> {
    let data = tensors.into_iter().fold(Transaction::default(), Transaction::register).execute();
    data.into_iter().map(|data| data.try_into_vec().expect("float32"))
}
