//! Power iteration for the convolution operator `x -> W * x` on one image of the layer's true size.
//!
//! One image fills no lanes, so these kernels work on rows: planes carry a zero border, and a tap of the kernel adds a
//! shifted plane to another. 1x1 kernels are their matrix and have no spatial extent.

use rayon::prelude::*;

use crate::lane::{LANES, V};
use crate::level::{Level, leveled};
use crate::shape::ConvShape;
use crate::simd::{Simd, dot};

/// One convolution whose power iteration is to be advanced.
#[derive(Debug)]
pub struct PowerJob<'a> {
    /// `[out, in, k, k]`
    pub weight: &'a [f32],
    /// Geometry.
    pub shape: ConvShape,
    /// Left vector, of unit norm.
    pub u: &'a mut [f32],
    /// Right vector, of unit norm.
    pub v: &'a mut [f32],
    /// How many iterations to make.
    pub iterations: usize,
    /// The estimate `u . (W * v)`, set by the call.
    pub sigma: f32,
}

/// Advances all jobs: `v <- W^T u`, `u <- W v`, both normalised; `sigma = u . (W * v)` before `u` is normalised away.
pub fn power_iterations(jobs: &mut [PowerJob<'_>]) {
    jobs.par_iter_mut().for_each(|job| advance(Level::current(), job));
}

#[inline(always)]
fn advance_inner<S: Simd>(job: &mut PowerJob<'_>) {
    let shape = job.shape;
    let mut planes = Planes::new(shape);
    for _ in 0..job.iterations {
        planes.transposed::<S>(job.weight, job.u, job.v);
        normalize(job.v);
        planes.forward::<S>(job.weight, job.v, job.u);
        job.sigma = normalize(job.u);
    }
}
leveled!(fn advance = advance_inner(job: &mut PowerJob<'_>));

/// `out = d(u . (W * v)) / dW`: `out[o, i, ky, kx] = sum over positions of u[o, y, x] v[i, y + ky, x + kx]`.
pub fn outer_correlation(u: &[f32], v: &[f32], shape: &ConvShape, out: &mut [f32]) {
    correlate(Level::current(), u, v, shape, out);
}

#[inline(always)]
fn correlate_inner<S: Simd>(u: &[f32], v: &[f32], shape: &ConvShape, out: &mut [f32]) {
    let mut planes = Planes::new(*shape);
    planes.spread(v, shape.in_channels);
    let (len, area) = (planes.len(), planes.area());
    let taps = shape.kernel * shape.kernel;
    let mut spread_u = vec![0.0; len];
    for o in 0..shape.out_channels {
        spread_u.fill(0.0);
        planes.spread_one(&u[o * area..(o + 1) * area], &mut spread_u);
        for i in 0..shape.in_channels {
            let plane = &planes.input[i * planes.stride..];
            for tap in 0..taps {
                let shifted = &plane[planes.offset(tap)..][..len];
                out[(o * shape.in_channels + i) * taps + tap] = dot::<S>(&spread_u, shifted);
            }
        }
    }
}
leveled!(fn correlate = correlate_inner(u: &[f32], v: &[f32], shape: &ConvShape, out: &mut [f32]));

/// Scales to unit norm and returns the norm; a zero vector stays.
#[inline(always)]
fn normalize(x: &mut [f32]) -> f32 {
    let norm = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
    if norm > 0.0 {
        let factor = (1.0 / norm) as f32;
        x.iter_mut().for_each(|v| *v *= factor);
    }
    norm as f32
}

/// Bordered planes of one image: row stride `width + 2 half`, so that a tap is one offset.
struct Planes {
    shape: ConvShape,
    row: usize,
    stride: usize,
    input: Vec<f32>,
    /// Of up to four output channels.
    sums: Vec<f32>,
}

impl Planes {
    fn new(shape: ConvShape) -> Self {
        let (h, w) = shape.extent();
        let row = w + 2 * (shape.kernel / 2);
        let stride = row * (h + 2 * (shape.kernel / 2));
        let channels = shape.in_channels.max(shape.out_channels);
        let stride = stride + LANES;
        Planes { shape, row, stride, input: vec![0.0; channels * stride], sums: vec![0.0; 4 * stride] }
    }

    fn area(&self) -> usize {
        let (h, w) = self.shape.extent();
        h * w
    }

    /// Length of a sum over rows, rounded up to whole vectors: what lies behind the last inner value is never read.
    fn len(&self) -> usize {
        let (h, w) = self.shape.extent();
        ((h - 1) * self.row + w).next_multiple_of(LANES)
    }

    fn offset(&self, tap: usize) -> usize {
        let k = self.shape.kernel;
        tap / k * self.row + tap % k
    }

    /// Copies unbordered channels into the middle of the bordered planes.
    #[inline(always)]
    fn spread(&mut self, x: &[f32], channels: usize) {
        let (h, w) = self.shape.extent();
        let half = self.shape.kernel / 2;
        for c in 0..channels {
            for y in 0..h {
                let at = c * self.stride + (y + half) * self.row + half;
                self.input[at..at + w].copy_from_slice(&x[(c * h + y) * w..][..w]);
            }
        }
    }

    /// Copies one unbordered channel to rows of the bordered stride, starting at 0.
    #[inline(always)]
    fn spread_one(&self, x: &[f32], out: &mut [f32]) {
        let (_, w) = self.shape.extent();
        for (y, line) in x.chunks_exact(w).enumerate() {
            out[y * self.row..y * self.row + w].copy_from_slice(line);
        }
    }

    /// `out = W * x`
    #[inline(always)]
    fn forward<S: Simd>(&mut self, weight: &[f32], x: &[f32], out: &mut [f32]) {
        let (cin, cout) = (self.shape.in_channels, self.shape.out_channels);
        self.convolve::<S>(x, out, cin, cout, |o, i, tap, taps| weight[(o * cin + i) * taps + tap]);
    }

    /// `out = W^T * x`
    #[inline(always)]
    fn transposed<S: Simd>(&mut self, weight: &[f32], x: &[f32], out: &mut [f32]) {
        let (cin, cout) = (self.shape.in_channels, self.shape.out_channels);
        self.convolve::<S>(x, out, cout, cin, |i, o, tap, taps| weight[(o * cin + i) * taps + taps - 1 - tap]);
    }

    #[inline(always)]
    fn convolve<S: Simd>(
        &mut self,
        x: &[f32],
        out: &mut [f32],
        from: usize,
        to: usize,
        weight: impl Fn(usize, usize, usize, usize) -> f32,
    ) {
        self.spread(x, from);
        let mut t = 0;
        while t < to {
            t += match to - t {
                4.. => self.channels::<S, 4>(out, t, from, &weight),
                _ => self.channels::<S, 1>(out, t, from, &weight),
            };
        }
    }

    /// `N` output channels from number `first` on; returns `N`.
    #[inline(always)]
    fn channels<S: Simd, const N: usize>(
        &mut self,
        out: &mut [f32],
        first: usize,
        from: usize,
        weight: &impl Fn(usize, usize, usize, usize) -> f32,
    ) -> usize {
        let (len, area) = (self.len(), self.area());
        let (_, w) = self.shape.extent();
        let mut at = 0;
        while at < len {
            at += match (len - at) / LANES {
                4.. => self.columns::<S, N, 4>(at, first, from, weight),
                _ => self.columns::<S, N, 1>(at, first, from, weight),
            };
        }
        for (n, sum) in self.sums.chunks(self.stride).take(N).enumerate() {
            let out = &mut out[(first + n) * area..(first + n + 1) * area];
            for (line, row) in out.chunks_exact_mut(w).zip(sum.chunks(self.row)) {
                line.copy_from_slice(&row[..w]);
            }
        }
        N
    }

    /// `T` vectors of the rows, from value `at` on, of `N` output channels; returns how many values those are.
    #[inline(always)]
    fn columns<S: Simd, const N: usize, const T: usize>(
        &mut self,
        at: usize,
        first: usize,
        from: usize,
        weight: &impl Fn(usize, usize, usize, usize) -> f32,
    ) -> usize {
        let taps = self.shape.kernel * self.shape.kernel;
        let mut sums = [[S::splat(0.0); T]; N];
        for f in 0..from {
            for tap in 0..taps {
                let (values, _) = self.input[f * self.stride + self.offset(tap) + at..].as_chunks::<LANES>();
                let values: &[V; T] = values[..T].try_into().expect("T vectors");
                for n in 0..N {
                    let factor = S::splat(weight(first + n, f, tap, taps));
                    for t in 0..T {
                        sums[n][t] = S::load(&values[t]).mul_add(factor, sums[n][t]);
                    }
                }
            }
        }
        for n in 0..N {
            let (to, _) = self.sums[n * self.stride + at..].as_chunks_mut::<LANES>();
            for t in 0..T {
                sums[n][t].store(&mut to[t]);
            }
        }
        T * LANES
    }
}
