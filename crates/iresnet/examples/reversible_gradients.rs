//! How far the gradients of reversible training are from those of standard training, on a trained run or a fresh network:
//! `cargo build --release --workspace --examples`, then `target/release/examples/reversible_gradients RUN [BATCHES]`,
//! or a preset such as `paper-cifar10` in place of RUN.

use std::path::Path;

use iresnet::data::{self, Augmentation, Loader};
use iresnet::model::{Dropout, DropoutKey, IResNet, Input, Memory, Norm};
use iresnet::train::{RunConfig, RunDir};

const BATCH: usize = 128;

/// Images and labels.
type Batch = (Vec<f32>, Vec<u32>);

/// A trained network with batches of its data.
fn trained(run: &str, count: usize) -> Result<(IResNet, Vec<Batch>), Box<dyn std::error::Error>> {
    let (record, model) = RunDir::open(Path::new(run))?.load()?;
    let split = data::load(&record.data, &data::default_dir(), None)?;
    let augmentation = Augmentation { shift: record.train.shift, flip: record.train.flip };
    let loader = Loader::train(&split.train, &record.normalization, augmentation, BATCH, 1, 0, 0);
    Ok((model, loader.take(count).map(|batch| (batch.images, batch.labels)).collect()))
}

/// A fresh network of a preset with random images.
fn fresh(preset: &str, count: usize) -> Result<(IResNet, Vec<Batch>), Box<dyn std::error::Error>> {
    let mut config = RunConfig::preset(preset)?;
    config.model.norm = Norm::Spectral { coeff: 0.9 };
    let (channels, side) = if preset.ends_with("mnist") { (1, 28) } else { (3, 32) };
    let input = Input { channels, height: side, width: side, classes: 10 };
    let len = channels * side * side;
    let batch = |n: usize| {
        let images = (0..BATCH * len).map(|i| ((i * 7919 + n) % 1013) as f32 / 1013.0 - 0.5).collect();
        (images, (0..BATCH as u32).map(|i| i % 10).collect())
    };
    Ok((config.model.init(input, 0)?, (0..count).map(batch).collect()))
}

/// `||a - b|| / ||b||`
fn relative(a: &[f32], b: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let difference = square(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (difference / square(&mut b.iter().copied()).max(f64::MIN_POSITIVE)).sqrt()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().ok_or("name a run folder or a preset")?;
    let count = arguments.next().map_or(Ok(4), |count| count.parse())?;
    let (model, batches) = if Path::new(&what).is_dir() { trained(&what, count)? } else { fresh(&what, count)? };
    let mut reversible = model.clone();
    reversible.set_memory(Memory::Reversible)?;
    for (step, (images, labels)) in batches.into_iter().enumerate() {
        let probability = model.config().dropout;
        let key = DropoutKey { seed: 1, step: step as u64, probability };
        let dropout = (probability > 0.0).then(|| Dropout::drawn(key));
        let images = model.layout().view(&images);
        let one = reversible.differentiate(images, &labels, dropout.as_ref());
        let other = model.differentiate(images, &labels, dropout.as_ref());
        let (a, b) = (&one.gradients.trunk, &other.gradients.trunk);
        // A layer whose gradient is a millionth of the whole has nothing but rounding in it.
        let norm = |values: &[f32]| values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let large = model.layout().convs().filter(|conv| norm(&b[conv.weight.clone()]) > 1e-3 * norm(b));
        let errors = large.map(|conv| (relative(&a[conv.weight.clone()], &b[conv.weight.clone()]), conv.name.clone()));
        let (worst, name) = errors.max_by(|a, b| a.0.total_cmp(&b.0)).expect("some layer has a gradient");
        let packs = BATCH.div_ceil(16) * one.memory.recovered;
        println!(
            "batch {step}: the whole gradient differs by {:.1e}, of layers with a thousandth of it the worst by {worst:.1e} \
             ({name}); {:.2} evaluations a block, {} blocks computed again",
            relative(a, b),
            one.memory.evaluations as f64 / packs as f64,
            one.memory.recomputed
        );
    }
    Ok(())
}
