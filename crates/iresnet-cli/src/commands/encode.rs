//! `iresnet encode`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::model::argmax;
use iresnet::train::{RunDir, write_atomically};
use serde::Serialize;

use super::verdict::Verdict;
use crate::inputs::ImageArgs;
use crate::output::{self, out};

#[derive(Args, Debug)]
pub struct EncodeArgs {
    /// Run folder
    run: PathBuf,
    #[command(flatten)]
    images: ImageArgs,
    /// File for `latent [n, C, H, W]` and `logits [n, classes]`; `iresnet invert --latents` takes it, changed or not
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    /// Print one JSON list
    #[arg(long)]
    json: bool,
}

/// What the network says of one image.
#[derive(Serialize)]
struct Classified {
    image: String,
    class: String,
    /// Softmax of the logits at the class.
    probability: f64,
}

pub fn run(args: EncodeArgs) -> Result<Verdict> {
    let (record, model) = RunDir::open(&args.run)?.load()?;
    let images = args.images.load(&record)?;
    // In float64: images come back closer from these.
    let network = model.prepare();
    let latents = network.precise_latents(model.layout().view(&images.values));
    let logits = network.classify(latents.view());
    let (latents, logits) = (latents.as_slice().expect("a new array"), logits.as_slice().expect("a new array"));
    // Told last: a file that cannot be written loses nobody the classes.
    let saved = args
        .out
        .as_ref()
        .map_or(Ok(()), |path| write_atomically(path, &model.layout().latents_to_safetensors(latents, logits)));
    let classified = images.names.into_iter().zip(logits.chunks_exact(record.input.classes)).map(|(image, logits)| {
        let best = argmax(logits);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - logits[best]).exp()).sum();
        Classified { image, class: record.classes[best].clone(), probability: 1.0 / sum }
    });
    let classified: Vec<Classified> = classified.collect();
    if args.json {
        output::json(&classified)?;
    } else {
        for Classified { image, class, probability } in &classified {
            out!("{image:<32} class {class:<12} probability {probability:.4}");
        }
    }
    saved?;
    Ok(Verdict::Done)
}
