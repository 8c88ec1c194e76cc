//! Eigenvalues of symmetric tridiagonal matrices: implicit QL without roots, Pal, Walker and Kahan's variant (Parlett, "The
//! Symmetric Eigenvalue Problem", 8.15; LAPACK's `dsterf`).

/// Eigenvalues in rising order, to within a few eps of the largest; `beside` is what stands next to the diagonal. `None`
/// if the iteration did not converge.
pub(crate) fn eigenvalues(diagonal: &[f64], beside: &[f64]) -> Option<Vec<f64>> {
    let n = diagonal.len();
    let mut d = diagonal.to_vec();
    let norm = d.iter().chain(beside).fold(0.0, |top: f64, x| top.max(x.abs()));
    if norm == 0.0 {
        return Some(d);
    }
    // Scaled, so that squares neither overflow nor vanish.
    d.iter_mut().for_each(|x| *x /= norm);
    let mut e: Vec<f64> = beside.iter().map(|x| (x / norm) * (x / norm)).collect();
    let negligible = f64::EPSILON * f64::EPSILON;
    let mut left = 50 * n;
    for first in 0..n {
        loop {
            let last = (first..n - 1).find(|i| e[*i] <= negligible).unwrap_or(n - 1);
            if last == first {
                break;
            }
            left = left.checked_sub(1)?;
            let root = e[first].sqrt();
            let slope = (d[first + 1] - d[first]) / (2.0 * root);
            let sigma = d[first] - root / (slope + slope.hypot(1.0).copysign(slope));
            let (mut c, mut s) = (1.0, 0.0);
            let mut gamma = d[last] - sigma;
            let mut p = gamma * gamma;
            for i in (first..last).rev() {
                let square = e[i];
                let r = p + square;
                if i + 1 < last {
                    e[i + 1] = s * r;
                }
                let (old_c, old_gamma, alpha) = (c, gamma, d[i]);
                (c, s) = (p / r, square / r);
                gamma = c * (alpha - sigma) - s * old_gamma;
                d[i + 1] = old_gamma + (alpha - gamma);
                p = if c != 0.0 { gamma * gamma / c } else { old_c * square };
            }
            e[first] = s * p;
            d[first] = sigma + gamma;
        }
    }
    d.iter_mut().for_each(|x| *x *= norm);
    d.sort_by(f64::total_cmp);
    Some(d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_eigenvalues() {
        // 2 on the diagonal, -1 beside it: 2 - 2 cos(pi j / (n + 1)).
        for n in [1, 2, 3, 10, 50] {
            let found = eigenvalues(&vec![2.0; n], &vec![-1.0; n - 1]).unwrap();
            for (j, value) in found.iter().enumerate() {
                let expected = 2.0 - 2.0 * (std::f64::consts::PI * (j + 1) as f64 / (n + 1) as f64).cos();
                // A few eps of the largest, 4.
                assert!((value - expected).abs() < 1e-14, "{n}: {value} {expected}");
            }
        }
    }

    #[test]
    fn blocks_zeros_and_extreme_sizes() {
        assert_eq!(eigenvalues(&[0.0; 4], &[0.0; 3]).unwrap(), [0.0; 4]);
        assert_eq!(eigenvalues(&[3.0, 1.0, 2.0], &[0.0; 2]).unwrap(), [1.0, 2.0, 3.0]);
        for scale in [1e-180, 1e150] {
            let found = eigenvalues(&[0.0, 0.0, 5.0 * scale], &[2.0 * scale, 0.0]).unwrap();
            for (value, expected) in found.iter().zip([-2.0, 2.0, 5.0]) {
                assert!((value / scale - expected).abs() < 1e-14, "{value} {expected}");
            }
        }
    }
}
