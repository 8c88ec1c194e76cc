//! From data to figures on networks that train in a moment.

use std::sync::atomic::AtomicBool;

use iresnet::data::{self, Split};
use iresnet::evaluate::{length, reconstruction};
use iresnet::model::Norm;
use iresnet::solve::Picard;
use iresnet::train::{RunConfig, RunRecord};
use iresnet_lab::figure4::{Figure4, TARGETS};
use iresnet_lab::networks::{MODELS, Networks, networks, run_name};
use iresnet_lab::report::Report;
use iresnet_lab::round_trip::RoundTrip;
use iresnet_lab::{LabError, figure2, figure3, figure4, table1};

fn small() -> (RunRecord, Split) {
    let split = data::load("digits", &data::default_dir(), None).unwrap();
    let overrides = ["model.blocks=[1,1]".into(), "train.epochs=1".into(), "train.batch_size=128".into()];
    let config = RunConfig::preset_with("digits", &overrides).unwrap();
    (RunRecord::new(&split, "digits", config, 1), split)
}

#[test]
fn figures_agree_with_the_networks() {
    let (record, split) = small();
    let dir = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let Networks { trained, diverged } = networks(&record, &split, dir.path(), &stop, &()).unwrap();
    assert!(diverged.is_empty());
    let names: Vec<String> = trained.iter().map(|network| network.name()).collect();
    assert_eq!(names, ["vanilla", "batch", "c0.9", "c0.7", "c0.5", "c0.3"]);
    let normalised = &trained[2];

    // The row is what the library's evaluation says.
    let row = table1::row(normalised, &split, 50, None).unwrap();
    let normalization = &normalised.record.normalization;
    let images = split.test.spread(50);
    let expected = reconstruction(normalised.examined(), &images, normalization, &Picard, 100, None).unwrap();
    assert_eq!((row.normed_l2, row.samples), (expected.normed_l2, 50));
    // The last steps are float64: what is left is the rounding of latent and image to float32, by at most 6e-8 of a value
    // each, and what the inverse makes of the latent's. Measured: 1.2e-8.
    assert!(row.guaranteed_inverse && row.normed_l2.0 < 1e-7, "{row:?}");
    let trip = RoundTrip::new(normalised, &images);
    let relative = trip.invert(&Picard, 100).unwrap().errors;
    let distances = relative.iter().zip(trip.images.chunks_exact(64)).map(|(error, x)| error * length(x));
    // The same 50 float64 lengths, as products of rounded quotients: each is good to 1e-15.
    assert!((row.distance.0 / (distances.sum::<f64>() / 50.0) - 1.0).abs() < 1e-12, "{row:?}");
    assert_eq!(row.image_values, 64);

    // After 100 iterations the pictures are the images; without any they are not.
    let shown = figure3::reconstructions(normalised, &split, None).unwrap();
    let originals = figure3::originals(&record, &split).originals;
    assert_eq!(shown.pixels.last(), originals.first());
    assert_ne!(shown.pixels.first(), originals.first());
    assert_eq!(shown.errors.len(), figure3::COUNTS.len());

    // Each curve is below its targets where it says so, and above them one iteration earlier.
    let curves = figure4::curves(normalised, &split, None).unwrap();
    let trip = RoundTrip::new(normalised, &split.test.spread(figure4::SAMPLES));
    for (target, needed) in TARGETS.iter().zip(&curves[0].evaluations) {
        let needed = needed.expect("a certified network reaches every target");
        assert!(trip.invert(&Picard, needed).unwrap().mean_error() <= *target);
        assert!(needed == 0 || trip.invert(&Picard, needed - 1).unwrap().mean_error() > *target);
    }
    assert_eq!(Figure4::of(curves, figure4::SAMPLES).factors, [None; 3], "one network is no line");

    for network in &trained {
        let norms = figure2::norms(network, None);
        assert!(norms.layers.iter().all(|layer| layer.lower <= layer.upper));
        if let Norm::Spectral { coeff } = network.record.model.norm {
            // The estimate that normalises is from below, after a hundred iterations at the end of the epoch, and the
            // norm is a proved bound from above. Measured: 1.4 % above the coefficient at most.
            assert!(norms.layers.iter().all(|layer| layer.upper < coeff * 1.05), "{norms:?}");
        }
    }
}

#[test]
fn networks_that_diverge_are_named_and_left_out() {
    let (mut record, split) = small();
    record.train.learning_rate = 1e9;
    let dir = tempfile::tempdir().unwrap();
    let found = networks(&record, &split, dir.path(), &AtomicBool::new(false), &()).unwrap();
    assert!(found.diverged.contains(&"vanilla".into()), "{:?}", found.diverged);
    assert_eq!(found.trained.len() + found.diverged.len(), MODELS.len());
    assert!(found.trained.iter().all(|network| !found.diverged.contains(&network.label())));
    // The others' figures do not depend on them.
    let config = Some(RunConfig { model: record.model, train: record.train });
    let report = Report { diverged: found.diverged, config, ..Report::default() };
    assert!([report.markdown(), report.html()].iter().all(|page| page.contains("is shown of it: vanilla")));
}

#[test]
fn finished_runs_are_used_and_other_runs_refused() {
    let (record, split) = small();
    let dir = tempfile::tempdir().unwrap();
    let go = AtomicBool::new(false);
    networks(&record, &split, dir.path(), &go, &()).unwrap();
    let weights = dir.path().join(run_name(MODELS[2])).join("last.safetensors");
    let written = std::fs::metadata(&weights).unwrap().modified().unwrap();
    // What does not matter to the weights may differ.
    let renamed = RunRecord { preset: "mine".into(), version: "later".into(), ..record.clone() };
    let again = networks(&renamed, &split, dir.path(), &go, &()).unwrap();
    assert_eq!(std::fs::metadata(&weights).unwrap().modified().unwrap(), written);
    assert_eq!(again.trained[2].record.preset, "digits", "the run's own configuration");
    // Published runs have no checkpoints. Weights of an unfinished one are not trained over.
    std::fs::remove_file(dir.path().join("c0.9/checkpoint.safetensors")).unwrap();
    let published = networks(&record, &split, dir.path(), &go, &()).unwrap();
    assert_eq!(published.trained[2].state.epochs, again.trained[2].state.epochs);
    std::fs::write(dir.path().join("c0.9/metrics.jsonl"), "").unwrap();
    let message = networks(&record, &split, dir.path(), &go, &()).unwrap_err().to_string();
    assert!(message.contains("0 of 1 epochs and no checkpoint.safetensors"), "{message}");
    assert_eq!(std::fs::metadata(&weights).unwrap().modified().unwrap(), written);

    let other = RunRecord { seed: 2, ..record.clone() };
    let message = networks(&other, &split, dir.path(), &go, &()).unwrap_err().to_string();
    assert!(message.contains("seed = 1") && message.contains("asks for 2"), "{message}");
    let stopped = networks(&record, &split, &dir.path().join("new"), &AtomicBool::new(true), &());
    assert!(matches!(stopped, Err(LabError::Stopped)));
}
