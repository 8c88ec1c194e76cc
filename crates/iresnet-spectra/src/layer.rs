//! One convolution with its weights.

/// One convolution, stride 1, with the weights in use.
#[derive(Clone, Debug)]
pub struct ConvLayer<'a> {
    /// Its name in the network.
    pub name: String,
    /// `[out, in, k, k]`
    pub weight: &'a [f32],
    /// Output channels.
    pub out_channels: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Side of its kernel, odd.
    pub kernel: usize,
    /// Height of the images it sees.
    pub height: usize,
    /// Width of the images it sees.
    pub width: usize,
}

impl ConvLayer<'_> {
    /// `(sum of squares of all weights)^(1/2)`
    pub(crate) fn frobenius(&self) -> f64 {
        self.weight.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt()
    }
}
