//! A residual branch of one's own in an invertible chain: `cargo run --release -p iresnet --example own_branch`.
//!
//! Anything with a value and a Lipschitz bound will do; here `g(x) = 0.6 sin(x)`, component by component. With products
//! with the Jacobian there are log-determinants too.

use iresnet::flow::layers::Residual;
use iresnet::flow::{Batch, Bijection, Chain, ImageShape, vector};
use iresnet::solve::{Branch, Picard, SolveBy, Stop};

struct Sine;

impl Branch<f64> for Sine {
    fn shape(&self) -> ImageShape {
        vector(2)
    }

    fn value(&self, x: &[f64], out: &mut [f64]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = 0.6 * x.sin());
    }

    fn lipschitz(&self) -> Option<f64> {
        Some(0.6)
    }

    fn jvp(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        out.iter_mut().zip(x.iter().zip(v)).for_each(|(out, (x, v))| *out = 0.6 * x.cos() * v);
    }
}

fn main() {
    let chain = Chain::new::<f64>(vec![Residual::new(Sine), Residual::new(Sine), Residual::new(Sine)]);
    let points = [0.5, -1.0, 2.0, 3.0, -4.0, 0.0];
    let x = Batch::pack(&points, vector(2));
    let stop = Stop { tolerance: Some(1e-12), max_iterations: 200 };
    let inverse = chain.inverse(chain.forward(x.clone()), SolveBy::new(&Picard, stop)).expect("the bound is true");
    let back = inverse.x.unpack();
    for ((point, back), bar) in points.chunks(2).zip(back.chunks(2)).zip(&inverse.error_bars) {
        println!("{point:?} came back as {back:?}, off by at most {:.1e}", bar.expect("the layers have bounds"));
    }
    let bounds = chain.bounds();
    let (forward, inverse) = (bounds.forward.expect("bounded"), bounds.inverse.expect("invertible"));
    println!("Lip(F) <= {forward:.3}, Lip(F^-1) <= {inverse:.3}, ln |det J| = {:.3?}", chain.log_det(&x));
}
