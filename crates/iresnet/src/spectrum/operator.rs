//! The zero-padded convolution as a linear operator in float64.

use super::ConvLayer;
use super::bound::LowerBound;

/// `x -> W * x` on one image with zero 'same' padding, and its transpose.
pub struct ZeroPadded<'a> {
    layer: &'a ConvLayer<'a>,
    weight: Vec<f64>,
}

impl<'a> ZeroPadded<'a> {
    /// The operator of `layer`.
    pub fn new(layer: &'a ConvLayer<'a>) -> Self {
        ZeroPadded { layer, weight: layer.weight.iter().map(|w| f64::from(*w)).collect() }
    }

    /// Calls `pair(output row, input row, length, weight)` for every run of products.
    fn each_run(&self, mut run: impl FnMut(usize, usize, usize, f64)) {
        let ConvLayer { in_channels, out_channels, kernel: k, height, width, .. } = *self.layer;
        let half = k / 2;
        for o in 0..out_channels {
            for i in 0..in_channels {
                for (tap, w) in self.weight[(o * in_channels + i) * k * k..][..k * k].iter().enumerate() {
                    let (ky, kx) = (tap / k, tap % k);
                    // Output columns whose input column x + kx - half is inside.
                    let (from, to) = (half.saturating_sub(kx), width.min((width + half).saturating_sub(kx)));
                    for y in half.saturating_sub(ky)..height.min((height + half).saturating_sub(ky)) {
                        if from < to {
                            let out = (o * height + y) * width + from;
                            let input = (i * height + y + ky - half) * width + from + kx - half;
                            run(out, input, to - from, *w);
                        }
                    }
                }
            }
        }
    }

    /// `W * x`
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.layer.out_channels * self.layer.height * self.layer.width];
        self.each_run(|o, i, len, w| {
            out[o..o + len].iter_mut().zip(&x[i..i + len]).for_each(|(o, x)| *o += w * x);
        });
        out
    }

    /// `W^T * y`
    pub fn apply_transposed(&self, y: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.layer.in_channels * self.layer.height * self.layer.width];
        self.each_run(|o, i, len, w| {
            out[i..i + len].iter_mut().zip(&y[o..o + len]).for_each(|(x, y)| *x += w * y);
        });
        out
    }

    /// `||W v||` for a unit vector `v` of the power method: never above the norm, up to rounding.
    pub fn norm_from_below(&self, iterations: usize) -> LowerBound {
        let len = self.layer.in_channels * self.layer.height * self.layer.width;
        // Deterministic, and orthogonal to nothing in particular.
        let mut v: Vec<f64> = (0..len).map(|i| 1.0 + ((i * 7919) % 1009) as f64 / 1009.0).collect();
        let mut norm = 0.0;
        for _ in 0..iterations {
            let size = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            if size == 0.0 {
                return LowerBound(0.0);
            }
            v.iter_mut().for_each(|x| *x /= size);
            let image = self.apply(&v);
            let next = image.iter().map(|x| x * x).sum::<f64>().sqrt();
            v = self.apply_transposed(&image);
            if (next - norm).abs() <= 1e-9 * next {
                norm = next;
                break;
            }
            norm = next;
        }
        // Sums of len products: far less than len eps, relative.
        LowerBound((norm * (1.0 - len as f64 * f64::EPSILON)).max(0.0))
    }
}
