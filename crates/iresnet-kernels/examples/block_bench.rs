//! Times the blocks of the presets: `cargo run --release --example block_bench -p iresnet-kernels`.
//!
//! GF/s count the flops of direct convolution.

use std::time::Instant;

use iresnet_kernels::reference::NETWORK_BLOCKS;
use iresnet_kernels::*;

fn best(mut run: impl FnMut()) -> f64 {
    run();
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < 0.7 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    println!("level {:?}", Level::current());
    // Arguments name the blocks wanted, like 48/12; none means all. `elu` takes that instead of ReLU.
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for (channels, bottleneck, size) in NETWORK_BLOCKS {
        if !wanted.is_empty() && !wanted.contains(&format!("{channels}/{bottleneck}")) {
            continue;
        }
        let mut shape = BlockShape::paper(ImageShape { channels, height: size, width: size }, bottleneck);
        if wanted.iter().any(|name| name == "elu") {
            shape.activation = Activation::Elu;
        }
        let weights: Vec<f32> = (0..shape.num_weights()).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3).collect();
        let flops = 128.0 * 2.0 * (size * size) as f64 * (18 * channels * bottleneck + bottleneck * bottleneck) as f64;
        let plan = BlockPlan::new(&shape, &weights, None, Purpose::Training);
        let x: Vec<f32> = (0..8 * shape.image.pack_len()).map(|i| ((i * 31 % 97) as f32 - 48.0) / 48.0).collect();
        let (mut y, mut hidden) = (vec![0.0; x.len()], vec![0.0; 8 * shape.hidden_len()]);
        let forward = best(|| plan.forward(&x, &mut y, Some(&mut hidden), None));
        let mut gradient = x.clone();
        let mut dw = vec![0.0; weights.len()];
        let backward = best(|| plan.backward(&x, &hidden, &mut gradient, None, &mut dw));
        println!(
            "{channels:4}/{bottleneck:<3} at {size:2}: forward {:7.3} ms {:4.0} GF/s, backward {:7.3} ms {:4.0} GF/s",
            forward * 1e3,
            flops / forward / 1e9,
            backward * 1e3,
            2.0 * flops / backward / 1e9
        );
    }
}
