//! A residual branch of one's own in an invertible sequence: `cargo run --release --example own_branch`.
//!
//! Anything with a value and a Lipschitz bound will do; here `g(x) = 0.6 sin(x)`, component by component.

use iresnet::residual::{Sequence, pack, unpack};
use iresnet::solve::{Branch, Picard, Stop};

struct Sine;

impl Branch<f64> for Sine {
    type Scratch = ();

    fn len(&self) -> usize {
        2
    }

    fn value(&self, x: &[f64], out: &mut [f64], _scratch: &mut ()) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = 0.6 * x.sin());
    }

    fn lipschitz(&self) -> Option<f64> {
        Some(0.6)
    }
}

fn main() {
    let network = Sequence { branches: vec![Sine, Sine, Sine] };
    let points = [0.5, -1.0, 2.0, 3.0, -4.0, 0.0];
    let latent = network.forward(&pack(&points, 2));
    let stop = Stop { tolerance: Some(1e-12), max_iterations: 200 };
    let inverse = network.inverse(&latent, 3, &Picard, stop).expect("the bound is true");
    for ((point, back), bar) in points.chunks(2).zip(unpack(&inverse.x, 2, 3).chunks(2)).zip(&inverse.error_bars) {
        println!("{point:?} came back as {back:?}, off by at most {:.1e}", bar.expect("the blocks have bounds"));
    }
    let audit = network.audit();
    println!(
        "invertible: {}, Lip(F) <= {:.3}, Lip(F^-1) <= {:.3}",
        audit.invertible,
        audit.forward.unwrap(),
        audit.inverse.unwrap()
    );
}
