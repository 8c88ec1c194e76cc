//! The zero-padded convolution as a linear operator in float64, and its norm from below.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

use crate::bound::LowerBound;
use crate::layer::ConvLayer;

/// `x -> W * x` on one image `[C, H, W]` with zero 'same' padding, and its transpose.
pub struct ZeroPadded<'a> {
    layer: &'a ConvLayer<'a>,
    /// `K_a^T`, one `in x out` matrix a tap, row by row.
    taps: Vec<Mat<f64>>,
}

/// When the search for the largest singular value ends.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Most steps.
    pub steps: usize,
    /// Smallest relative change in a few steps that makes it go on.
    pub tolerance: f64,
}

impl Search {
    /// Steps between two looks at the result.
    const CHECK: usize = 8;
}

impl<'a> ZeroPadded<'a> {
    /// The operator of `layer`.
    pub fn new(layer: &'a ConvLayer<'a>) -> Self {
        let (cin, cout, area) = (layer.in_channels, layer.out_channels, layer.kernel * layer.kernel);
        let value = |tap: usize, i: usize, o: usize| f64::from(layer.weight[(o * cin + i) * area + tap]);
        ZeroPadded { layer, taps: (0..area).map(|tap| Mat::from_fn(cin, cout, |i, o| value(tap, i, o))).collect() }
    }

    /// Calls `visit(tap, dy, dx)` for every tap that moves some pixel of the image onto another one.
    fn each_tap(&self, mut visit: impl FnMut(&Mat<f64>, isize, isize)) {
        let (k, half) = (self.layer.kernel, (self.layer.kernel / 2) as isize);
        for (i, tap) in self.taps.iter().enumerate() {
            let (dy, dx) = ((i / k) as isize - half, (i % k) as isize - half);
            if dy.unsigned_abs() < self.layer.height && dx.unsigned_abs() < self.layer.width {
                visit(tap, dy, dx);
            }
        }
    }

    /// Channels of `x`, each moved by `(dy, dx)` with zeros following.
    fn moved(&self, x: &[f64], dy: isize, dx: isize) -> Vec<f64> {
        let (height, width) = (self.layer.height, self.layer.width);
        let inside = |n: usize, d: isize| (-d).max(0) as usize..n - d.max(0) as usize;
        let columns = inside(width, dx);
        let mut out = vec![0.0; x.len()];
        for (out, x) in out.chunks_exact_mut(height * width).zip(x.chunks_exact(height * width)) {
            for y in inside(height, dy) {
                let from = (y as isize + dy) as usize * width;
                let (first, last) = ((columns.start as isize + dx) as usize, (columns.end as isize + dx) as usize);
                out[y * width..][columns.clone()].copy_from_slice(&x[from + first..from + last]);
            }
        }
        out
    }

    /// `W * x`
    ///
    /// # Shapes
    /// `[in, H, W]` to `[out, H, W]`, flat.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let (area, layer) = (self.layer.height * self.layer.width, self.layer);
        let mut out = vec![0.0; layer.out_channels * area];
        self.each_tap(|tap, dy, dx| {
            let moved = self.moved(x, dy, dx);
            let to = MatMut::from_column_major_slice_mut(&mut out, area, layer.out_channels);
            matmul(
                to,
                Accum::Add,
                MatRef::from_column_major_slice(&moved, area, layer.in_channels),
                tap,
                1.0,
                Par::rayon(0),
            );
        });
        out
    }

    /// `W^T * y`
    ///
    /// # Shapes
    /// `[out, H, W]` to `[in, H, W]`, flat.
    pub fn apply_transposed(&self, y: &[f64]) -> Vec<f64> {
        let (area, layer) = (self.layer.height * self.layer.width, self.layer);
        let mut out = vec![0.0; layer.in_channels * area];
        self.each_tap(|tap, dy, dx| {
            let moved = self.moved(y, -dy, -dx);
            let to = MatMut::from_column_major_slice_mut(&mut out, area, layer.in_channels);
            let from = MatRef::from_column_major_slice(&moved, area, layer.out_channels);
            matmul(to, Accum::Add, from, tap.transpose(), 1.0, Par::rayon(0));
        });
        out
    }

    /// `||W v|| / ||v||` for the best `v` that the Lanczos method finds, less the rounding of that quotient: never
    /// above the norm.
    ///
    /// Lanczos on `W^T W` or `W W^T`, whichever is smaller, with every new vector made orthogonal to all before it.
    /// After `t` steps the error falls like `t^-2` even without a gap, that of the power method like `t^-1`.
    pub fn norm_from_below(&self, search: Search) -> LowerBound {
        let wide = self.layer.out_channels <= self.layer.in_channels;
        let gram = |v: &[f64]| match wide {
            true => self.apply(&self.apply_transposed(v)),
            false => self.apply_transposed(&self.apply(v)),
        };
        let len = self.layer.out_channels.min(self.layer.in_channels) * self.layer.height * self.layer.width;
        // Deterministic, and orthogonal to nothing in particular.
        let mut next: Vec<f64> = (0..len).map(|i| 1.0 + ((i * 7919) % 1009) as f64 / 1009.0).collect();
        let (mut basis, mut diagonal, mut side) = (Vec::<Vec<f64>>::new(), Vec::new(), Vec::new());
        let mut best = (0.0, vec![1.0]);
        for step in 1..=search.steps.min(len) {
            let size = norm(&next);
            next.iter_mut().for_each(|x| *x /= size);
            let image = gram(&next);
            basis.push(std::mem::replace(&mut next, image));
            diagonal.push(dot(&basis[step - 1], &next));
            // Twice is enough (Parlett): once leaves what cancellation uncovers.
            for _ in 0..2 {
                for v in &basis {
                    let along = dot(v, &next);
                    next.iter_mut().zip(v).for_each(|(x, v)| *x -= along * v);
                }
            }
            side.push(norm(&next));
            let ended = side[step - 1] <= 1e-14 * diagonal[0].abs() || step == search.steps.min(len);
            if ended || step % Search::CHECK == 0 {
                let found = largest_ritz(&diagonal, &side);
                let change = found.0 - best.0;
                best = found;
                if ended || change <= search.tolerance * best.0 {
                    break;
                }
            }
        }
        let mut v = vec![0.0; len];
        for (weight, b) in best.1.iter().zip(&basis) {
            v.iter_mut().zip(b).for_each(|(v, b)| *v += weight * b);
        }
        let image = if wide { self.apply_transposed(&v) } else { self.apply(&v) };
        let size = norm(&v);
        LowerBound::of_quotient(if size > 0.0 { norm(&image) / size } else { 0.0 }, len, self.layer)
    }
}

/// Largest eigenvalue of the tridiagonal matrix of the Lanczos method, and its eigenvector.
fn largest_ritz(diagonal: &[f64], side: &[f64]) -> (f64, Vec<f64>) {
    let n = diagonal.len();
    let matrix = Mat::from_fn(n, n, |r, c| match r.abs_diff(c) {
        0 => diagonal[r],
        1 => side[r.min(c)],
        _ => 0.0,
    });
    match matrix.self_adjoint_eigen(Side::Lower) {
        Ok(eigen) => (eigen.S()[n - 1], eigen.U().col(n - 1).iter().copied().collect()),
        // Only non-finite numbers get here; a bound of zero is still one.
        Err(_) => (0.0, vec![0.0; n]),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
