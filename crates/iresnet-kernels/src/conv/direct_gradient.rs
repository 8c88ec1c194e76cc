//! Weight gradients tap by tap, for narrow and for 1x1 kernels.

use crate::buffer::Buffer;
use crate::lane::V;
use crate::level::leveled;
use crate::plane::Plane;
use crate::shape::ConvShape;
use crate::simd::Simd;
use crate::source::Source;

#[inline(always)]
fn direct_inner<S: Simd>(
    shape: &ConvShape,
    source: Source<'_>,
    cotangent: &[V],
    step: f32,
    buffer: &mut Buffer,
    weights: &mut [f32],
) {
    let plane = Plane::of(shape);
    let input = buffer.sized(plane.len());
    source.fill::<S>(plane, input);
    let job = Direct { plane, input, cotangent, step, kernel: shape.kernel };
    let out = shape.out_channels;
    match shape.kernel {
        3 if S::TILE >= 4 => {
            let tile = if out.is_multiple_of(3) { 3 } else { 2 };
            for o in (0..out).step_by(tile) {
                match tile.min(out - o) {
                    3 => job.square::<S, 3>(o, weights),
                    2 => job.square::<S, 2>(o, weights),
                    _ => job.square::<S, 1>(o, weights),
                }
            }
        }
        1 => {
            for o in (0..out).step_by(4) {
                match out - o {
                    1 => job.matrix::<S, 1>(o, weights),
                    2 => job.matrix::<S, 2>(o, weights),
                    3 => job.matrix::<S, 3>(o, weights),
                    _ => job.matrix::<S, 4>(o, weights),
                }
            }
        }
        _ => (0..out).for_each(|o| job.taps::<S>(o, weights)),
    }
}
leveled!(
    /// Adds `step` times the weight gradient of one pack to `weights`.
    pub(crate) fn add_direct = direct_inner(
        shape: &ConvShape, source: Source<'_>, cotangent: &[V], step: f32, buffer: &mut Buffer, weights: &mut [f32]
    )
);

/// One pack: a bordered input and an unbordered cotangent.
struct Direct<'a> {
    plane: Plane,
    input: &'a [V],
    cotangent: &'a [V],
    step: f32,
    kernel: usize,
}

impl Direct<'_> {
    /// All nine taps of 3x3 kernels for `N` output channels.
    #[inline(always)]
    fn square<S: Simd, const N: usize>(&self, o: usize, weights: &mut [f32]) {
        let Plane { channels, height, width, .. } = self.plane;
        let area = height * width;
        for i in 0..channels {
            let mut sums = [[S::splat(0.0); 9]; N];
            for y in 0..height {
                let corner = self.plane.row(i, y) - self.plane.row_stride() - 1;
                let rows: [&[V]; 3] = [
                    &self.input[corner..][..width + 2],
                    &self.input[corner + self.plane.row_stride()..][..width + 2],
                    &self.input[corner + 2 * self.plane.row_stride()..][..width + 2],
                ];
                let outs = &self.cotangent[o * area + y * width..];
                for x in 0..width {
                    let mut out = [S::splat(0.0); N];
                    for n in 0..N {
                        out[n] = S::load(&outs[n * area + x]);
                    }
                    for ky in 0..3 {
                        for kx in 0..3 {
                            let value = S::load(&rows[ky][x + kx]);
                            for n in 0..N {
                                sums[n][3 * ky + kx] = value.mul_add(out[n], sums[n][3 * ky + kx]);
                            }
                        }
                    }
                }
            }
            for n in 0..N {
                let weights = &mut weights[((o + n) * channels + i) * 9..][..9];
                for k in 0..9 {
                    weights[k] += self.step * sums[n][k].sum();
                }
            }
        }
    }

    /// 1x1 kernels, `N` output channels by up to four inputs.
    #[inline(always)]
    fn matrix<S: Simd, const N: usize>(&self, o: usize, weights: &mut [f32]) {
        let channels = self.plane.channels;
        let area = self.plane.height * self.plane.width;
        for i in (0..channels).step_by(4) {
            let count = 4.min(channels - i);
            let mut sums = [[S::splat(0.0); 4]; N];
            for at in 0..area {
                let mut out = [S::splat(0.0); N];
                for n in 0..N {
                    out[n] = S::load(&self.cotangent[(o + n) * area + at]);
                }
                for k in 0..4 {
                    // Beyond the last channel the last one is taken again; its sum is not used.
                    let value = S::load(&self.input[(i + k.min(count - 1)) * area + at]);
                    for n in 0..N {
                        sums[n][k] = value.mul_add(out[n], sums[n][k]);
                    }
                }
            }
            for n in 0..N {
                for k in 0..count {
                    weights[(o + n) * channels + i + k] += self.step * sums[n][k].sum();
                }
            }
        }
    }

    /// Any kernel, a tap at a time.
    #[inline(always)]
    fn taps<S: Simd>(&self, o: usize, weights: &mut [f32]) {
        let Plane { channels, height, width, border, .. } = self.plane;
        for i in 0..channels {
            for tap in 0..self.kernel * self.kernel {
                let mut sum = S::splat(0.0);
                for y in 0..height {
                    let row = self.plane.row(i, y) - border * (self.plane.row_stride() + 1)
                        + tap / self.kernel * self.plane.row_stride()
                        + tap % self.kernel;
                    let outs = &self.cotangent[(o * height + y) * width..][..width];
                    for (value, out) in self.input[row..row + width].iter().zip(outs) {
                        sum = S::load(value).mul_add(S::load(out), sum);
                    }
                }
                weights[(o * channels + i) * self.kernel * self.kernel + tap] += self.step * sum.sum();
            }
        }
    }
}
