//! Layers one after the other, as one bijection.
//!
//! A pack passes all layers before the next one begins, so its values stay in the cache of one core; packs run on all
//! threads.

use crate::batch::Batch;
use crate::bijection::{Bijection, Bounds, Preimage};
use crate::solve::{Contradiction, SolveBy, Stop, tolerance_shares};
use crate::{ImageShape, Scalar};

/// `F = F_n ∘ ... ∘ F_1`. `L` is one kind of layer, or `Box<dyn ...>` for several.
#[derive(Clone, Debug)]
pub struct Chain<L> {
    layers: Vec<L>,
}

/// Packs that an inverse takes through all layers together: enough for finished samples to be replaced by waiting ones.
const PACKS_TOGETHER: usize = 4;

impl<L> Chain<L> {
    /// The chain of `layers`, the first one first.
    ///
    /// # Panics
    /// Without layers, or if one does not take what the layer before it gives.
    pub fn new<T: Scalar>(layers: Vec<L>) -> Self
    where
        L: Bijection<T>,
    {
        assert!(!layers.is_empty(), "a chain has at least one layer");
        for (i, pair) in layers.windows(2).enumerate() {
            let (given, taken) = (pair[0].output(), pair[1].input());
            assert_eq!(given, taken, "shapes that layer {i} gives and layer {} takes", i + 1);
        }
        Chain { layers }
    }

    /// The layers, the first one first.
    pub fn layers(&self) -> &[L] {
        &self.layers
    }
}

impl<T: Scalar, L: Bijection<T>> Bijection<T> for Chain<L> {
    fn input(&self) -> ImageShape {
        self.layers[0].input()
    }

    fn output(&self) -> ImageShape {
        self.layers[self.layers.len() - 1].output()
    }

    fn forward(&self, x: Batch<T>) -> Batch<T> {
        let parts = x.in_parts(1, |x| self.layers.iter().fold(x, |x, layer| layer.forward(x)));
        Batch::join(parts.into_iter().map(|(_, y)| y)).expect("at least one part")
    }

    /// From the last layer to the first. Where every layer has a Lipschitz bound of its inverse, the tolerance is meant for
    /// the whole chain and shared out among the layers ([`tolerance_shares`]), relative to the length of each one's own
    /// `y`; otherwise every layer gets it as it is.
    fn inverse(&self, y: Batch<T>, by: SolveBy<'_, T>) -> Result<Preimage<T>, Contradiction> {
        let amplification: Option<Vec<f64>> = self.layers.iter().rev().map(|layer| layer.bounds().inverse).collect();
        let shares = amplification.zip(by.stop.tolerance).map(|(factors, all)| tolerance_shares(all, &factors));
        let invert = |y: Batch<T>| {
            let mut done = Preimage { error_bars: vec![Some(0.0); y.samples()], x: y, solves: Vec::new() };
            for (i, layer) in self.layers.iter().rev().enumerate() {
                let tolerance = shares.as_ref().map_or(by.stop.tolerance, |shares| Some(shares[i]));
                let part = layer.inverse(done.x, SolveBy { stop: Stop { tolerance, ..by.stop }, ..by })?;
                // What came in wrong leaves amplified.
                let amplified = layer.bounds().inverse;
                for (bar, own) in done.error_bars.iter_mut().zip(&part.error_bars) {
                    *bar = bar.zip(amplified).zip(*own).map(|((bar, factor), own)| bar * factor + own);
                }
                done.x = part.x;
                done.solves.extend(part.solves);
            }
            Ok(done)
        };
        let mut all: Option<Preimage<T>> = None;
        for (first, part) in y.in_parts(PACKS_TOGETHER, invert) {
            let part = part.map_err(|found: Contradiction| Contradiction { sample: found.sample + first, ..found })?;
            let Some(so_far) = &mut all else {
                all = Some(part);
                continue;
            };
            so_far.x.append(part.x);
            so_far.solves.iter_mut().zip(part.solves).for_each(|(to, from)| to.extend(from));
            so_far.error_bars.extend(part.error_bars);
        }
        Ok(all.expect("at least one part"))
    }

    fn jvp(&self, x: &Batch<T>, v: &Batch<T>) -> Batch<T> {
        let (mut x, mut v) = (x.clone(), v.clone());
        for layer in &self.layers {
            v = layer.jvp(&x, &v);
            x = layer.forward(x);
        }
        v
    }

    fn vjp(&self, x: &Batch<T>, w: &Batch<T>) -> Batch<T> {
        let mut inputs = vec![x.clone()];
        for layer in &self.layers[..self.layers.len() - 1] {
            inputs.push(layer.forward(inputs[inputs.len() - 1].clone()));
        }
        self.layers.iter().zip(&inputs).rev().fold(w.clone(), |w, (layer, x)| layer.vjp(x, &w))
    }

    fn log_det(&self, x: &Batch<T>) -> Vec<f64> {
        let mut sums = vec![0.0; x.samples()];
        let mut x = x.clone();
        for layer in &self.layers {
            sums.iter_mut().zip(layer.log_det(&x)).for_each(|(sum, part)| *sum += part);
            x = layer.forward(x);
        }
        sums
    }

    fn bounds(&self) -> Bounds {
        self.layers.iter().fold(Bounds::ISOMETRY, |bounds, layer| bounds.then(layer.bounds()))
    }
}
