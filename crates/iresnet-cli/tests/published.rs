//! The published networks are those of the published table.

mod skipped;

use std::fs;
use std::path::{Path, PathBuf};

use iresnet::evaluate::{error_percent, reconstruction};
use iresnet::model::{IResNet, Norm};
use iresnet::solve::Picard;
use iresnet::train::{RunDir, RunRecord};
use iresnet_lab::networks::run_name;
use serde_json::Value;
use skipped::skipped;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")
}

fn folder() -> PathBuf {
    models().join("mnist")
}

/// The table's row, configuration and network of every run folder.
fn published() -> Vec<(Value, RunRecord, IResNet)> {
    let table: Vec<Value> = serde_json::from_slice(&fs::read(folder().join("table1.json")).unwrap()).unwrap();
    let network = |name: &str| {
        let path = folder().join(name);
        let (record, model, sha256) = RunDir::open(&path).unwrap().load_with_sha256().unwrap();
        let row = table.iter().find(|row| row["model"] == record.model.norm.label().as_str()).unwrap().clone();
        assert_eq!(row["file_sha256"], sha256.as_str(), "{name}");
        (row, record, model)
    };
    ["vanilla", "batch", "c0.9", "c0.7", "c0.5", "c0.3"].map(network).into()
}

#[test]
fn weights_are_those_of_the_table_and_certify_as_it_says() {
    for (row, record, model) in published() {
        assert_eq!(row["guaranteed_inverse"], matches!(record.model.norm, Norm::Spectral { .. }), "{row}");
        if let Norm::Spectral { .. } = record.model.norm {
            let certified = model.prepare().certify().unwrap();
            let certificate = certified.certificate();
            let said = row["largest_block_lipschitz"].as_f64().unwrap();
            // The bound exceeds what was found from below by a surplus; other instructions round differently.
            assert!((certificate.largest_block_lipschitz() - said).abs() < 1e-6 * said, "{row}");
        }
    }
}

/// Where MNIST is at hand: the errors of the table, and what the certified networks' inverses leave.
#[test]
fn errors_are_those_of_the_table() {
    let data = std::env::var_os("IRESNET_DATA").map(PathBuf::from).filter(|data| data.join("mnist").is_dir());
    let Some(data) = data else {
        skipped("errors of the published networks need MNIST; IRESNET_DATA names no folder with it");
        return;
    };
    let split = iresnet::data::load("mnist", &data, None).unwrap();
    for (row, record, model) in published() {
        let error = error_percent(&model, &split.test, &record.normalization, None);
        // Two images whose largest logits are equal up to rounding may change sides on other processors.
        assert!((error - row["error_percent"].as_f64().unwrap()).abs() < 0.021, "{error} {row}");
        let examined = model.prepare().examine(None);
        if examined.certified().is_some() {
            let images = split.test.spread(row["samples"].as_u64().unwrap() as usize);
            let found = reconstruction(&examined, &images, &record.normalization, &Picard, 100, None).unwrap();
            // What float32 leaves before the steps in float64 differs on other processors.
            let ratio = found.normed_l2.0 / row["normed_l2"].as_f64().unwrap();
            assert!((0.9..1.1).contains(&ratio), "{:?} {row}", found.normed_l2);
        }
    }
}

/// The model card rounds the table's figures.
#[test]
fn the_model_card_says_what_the_table_says() {
    let card = fs::read_to_string(models().join("README.md")).unwrap();
    for (row, record, _) in published() {
        let name = run_name(record.model.norm);
        let line = card.lines().find(|line| line.starts_with(&format!("| `{name}`"))).unwrap();
        let error = format!("| {:.2} |", row["error_percent"].as_f64().unwrap());
        let l2 = format!("| {:.1e} |", row["normed_l2"].as_f64().unwrap());
        assert!(line.contains(&error) && line.contains(&l2), "{line} {error} {l2}");
        assert_eq!(line.contains("| yes |"), row["guaranteed_inverse"].as_bool().unwrap(), "{line}");
    }
}

/// CIFAR-10's network certifies as its certificate says, and the model card rounds its evaluation.
#[test]
fn the_cifar10_network_is_certified_and_in_the_model_card() {
    let folder = models().join("cifar10/c0.9");
    let (_, model) = RunDir::open(&folder).unwrap().load().unwrap();
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(model.prepare().verify(&read("certificate.json"), None).unwrap().certified().is_some());
    let evaluation: Value = serde_json::from_str(&read("evaluation.json")).unwrap();
    let number = |key: &str| evaluation[key].as_f64().unwrap();
    let (error, l2, largest) = (number("error_percent"), number("normed_l2"), number("largest_normed_l2"));
    let line = format!("| `c0.9` | {error:.2} | {l2:.1e} | {largest:.1e} | yes |");
    assert!(fs::read_to_string(models().join("README.md")).unwrap().lines().any(|found| found == line), "{line}");
}
