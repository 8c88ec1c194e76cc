//! Networks whose training ended uncertified: the smallest change of their weights that makes the certificate hold.
//!
//! One power iteration a step estimates norms from below, so a layer may end above its coefficient, and networks without
//! normalisation have no reason to contract. Layers of blocks above the target are scaled by their proven norms
//! ([`rescaling`]); nothing else changes, and the new weights are certified like any others.

use iresnet_flow::Progress;
use iresnet_flow::proof::{Certificate, rescaling};
use iresnet_spectra::UpperBound;
use serde::Serialize;

use crate::evaluate::length;
use crate::model::{Examined, IResNet};

/// A layer that was scaled.
#[derive(Clone, Debug, Serialize)]
pub struct RescaledLayer {
    /// Its name in the network.
    pub name: String,
    /// Bound of its norm before.
    pub norm: UpperBound,
    /// What its weights in use were multiplied by, below 1.
    pub factor: f64,
}

/// A network that was made to contract.
#[derive(Clone, Debug)]
pub struct Finalized {
    /// The network with its new weights.
    pub model: IResNet,
    /// The same, examined: its certificate holds.
    pub examined: Examined,
    /// What was changed.
    pub layers: Vec<RescaledLayer>,
}

/// No rescaling makes a block contract.
#[derive(Debug, thiserror::Error)]
#[error("{block} cannot be brought to Lip(h g) <= {target} by scaling its convolutions: its bound is {bound}")]
pub struct NoRescaling {
    /// The block.
    pub block: String,
    /// What was asked for.
    pub target: f64,
    /// What is known of it.
    pub bound: f64,
}

/// Bounds of scaled weights are not exactly scaled bounds: a search from below may end a step of its surplus higher.
const ROUNDS: usize = 5;

/// Scales the layers of all blocks with `Lip(h g) > target` so that it holds, and certifies the result.
///
/// `progress` gets layers done and layers in all, again for every round.
///
/// # Errors
/// A block without a finite bound, or a target that is not in (0, 1).
///
/// # Panics
/// If `examined` is of other weights than the model's.
pub fn finalize(
    model: &IResNet,
    examined: &Examined,
    target: f64,
    progress: Progress<'_>,
) -> Result<Finalized, NoRescaling> {
    let weights = model.weights_in_use();
    let same = examined.network().chain().layers().iter().flat_map(|layer| layer.convolutions());
    let ours = weights.layers(model.layout());
    assert!(same.map(|l| l.weight).eq(ours.iter().map(|l| l.weight)), "other weights were examined than these");
    let layout = model.layout().clone();
    let (mut model, mut examined) = (model.clone(), examined.clone());
    let before: Certificate = examined.certificate().clone();
    let mut factors = vec![[1.0f64; 3]; layout.num_blocks()];
    for round in 0..=ROUNDS {
        let above = |lipschitz: f64| lipschitz > target || lipschitz >= 1.0;
        let failing: Vec<usize> =
            (0..factors.len()).filter(|i| above(examined.certificate().blocks[*i].lipschitz.value())).collect();
        if failing.is_empty() {
            break;
        }
        let weights = model.weights_in_use();
        for i in failing {
            let (block, bound) =
                (layout.blocks().nth(i).expect("a block of this network"), &examined.certificate().blocks[i]);
            let none = || NoRescaling { block: block.name.clone(), target, bound: bound.lipschitz.value() };
            let norms: Vec<UpperBound> = bound.layers.iter().map(|layer| layer.norm).collect();
            let layers = weights.blocks[i].layers(block);
            let frobenius: Vec<f64> = layers.iter().map(|l| l.kernel as f64 * length(l.weight)).collect();
            let possible = round < ROUNDS && target < 1.0;
            let scale = possible.then(|| rescaling(&norms, &frobenius, bound.rest(), target));
            let scale = scale.flatten().ok_or_else(none)?;
            for ((conv, layer), (factor, all)) in block.convs.iter().zip(&layers).zip(scale.iter().zip(&mut factors[i]))
            {
                if *factor < 1.0 {
                    // The weights in use become the parameters: with spectral normalisation their norm is below its
                    // coefficient then, so that it leaves them as they are.
                    let parameters = &mut model.parameters_mut()[0][conv.weight.clone()];
                    parameters.iter_mut().zip(layer.weight).for_each(|(to, from)| *to = from * factor);
                    *all *= f64::from(*factor);
                }
            }
        }
        model.refresh_sigma();
        examined = model.prepare().examine(progress);
    }
    let layers = before.blocks.iter().zip(&factors).flat_map(|(block, factors)| block.layers.iter().zip(factors));
    let changed = layers.filter(|(_, factor)| **factor < 1.0);
    let layers = changed
        .map(|(layer, factor)| RescaledLayer { name: layer.name.clone(), norm: layer.norm, factor: *factor })
        .collect();
    Ok(Finalized { model, examined, layers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelConfig, Norm};
    use crate::data::Input;

    /// Its middle block is as it was initialised, with a norm of at most 0.3; the others are far above 1.
    fn network(norm: Norm) -> IResNet {
        let config = ModelConfig { blocks: vec![2, 1], norm, ..ModelConfig::preset("digits").unwrap() };
        let mut model = config.init(Input { channels: 1, height: 4, width: 4, classes: 3 }, 1).unwrap();
        let layout = model.layout().clone();
        for block in layout.blocks().step_by(2) {
            for conv in &block.convs {
                model.parameters_mut()[0][conv.weight.clone()].iter_mut().for_each(|w| *w *= 4.0);
            }
        }
        model.update_norms(100);
        model
    }

    #[test]
    fn only_blocks_that_fail_change_and_the_result_is_certified() {
        for norm in [Norm::None, Norm::Batch] {
            let model = network(norm);
            let examined = model.prepare().examine(None);
            let before = examined.certificate();
            let failing: Vec<bool> = before.blocks.iter().map(|b| b.lipschitz.value() > 0.99).collect();
            assert_eq!(failing, [true, false, true]);
            let done = finalize(&model, &examined, 0.99, None).unwrap();
            let sum = done.model.prepare().examine(None).certificate().weights_sha256.clone();
            assert!(done.examined.certified().is_some() && done.examined.certificate().weights_sha256 == sum);
            for (old, new) in before.blocks.iter().zip(&done.examined.certificate().blocks) {
                let (old, new) = (old.lipschitz.value(), new.lipschitz.value());
                // The smallest change: what failed ends at the target up to the surplus of a bound, what held is as it was.
                match old > 0.99 {
                    true => assert!(new <= 0.99 && new > 0.97, "{norm:?}: {old} {new}"),
                    false => assert_eq!(old, new),
                }
            }
            let named = |name: &str| done.layers.iter().any(|l| l.name == name);
            for conv in model.layout().convs() {
                let same =
                    model.trunk_parameters()[conv.weight.clone()] == done.model.trunk_parameters()[conv.weight.clone()];
                assert_eq!(same, !named(&conv.name), "{}", conv.name);
                assert_eq!(
                    model.trunk_parameters()[conv.bias.clone()],
                    done.model.trunk_parameters()[conv.bias.clone()]
                );
            }
        }
    }

    #[test]
    fn normalised_layers_keep_their_new_weights() {
        // At c = 0.999 the estimates from below leave blocks above a target of 0.9.
        let model = network(Norm::Spectral { coeff: 0.999 });
        let before = model.prepare().examine(None);
        assert!(before.certificate().largest_block_lipschitz() > 0.9);
        let done = finalize(&model, &before, 0.9, None).unwrap();
        assert!(done.examined.certificate().largest_block_lipschitz() <= 0.9);
        let (old, new) = (model.weights_in_use(), done.model.weights_in_use());
        let layers = old.layers(model.layout()).into_iter().zip(new.layers(done.model.layout()));
        for (old, new) in layers {
            let factor = done.layers.iter().find(|l| l.name == old.name).map_or(1.0, |l| l.factor);
            for (a, b) in old.weight.iter().zip(new.weight) {
                // Two roundings to float32.
                assert!((f64::from(*a) * factor - f64::from(*b)).abs() <= 2.4e-7 * f64::from(a.abs()), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_cannot_be_finalized() {
        let mut model = network(Norm::None);
        let examined = model.prepare().examine(None);
        for target in [0.0, -1.0, 1.0, f64::NAN] {
            assert!(finalize(&model, &examined, target, None).is_err(), "{target}");
        }
        model.parameters_mut()[0][0] = f32::INFINITY;
        let examined = model.prepare().examine(None);
        let error = finalize(&model, &examined, 0.99, None).unwrap_err();
        assert!(error.to_string().contains("stages.0.blocks.0"), "{error}");
    }
}
