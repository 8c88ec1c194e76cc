//! Run folders and data sets that are damaged, of another kind, or not there.

use std::fs;
use std::path::Path;

use crate::common::*;

#[test]
fn damaged_runs_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let good = path(&dir, "good");
    succeeds(&train(&good, &["--epochs", "1"]));
    fails(&train(&good, &["--epochs", "1"]), 1, &["holds a run already", "--resume"]);
    fails(
        &train(&good, &["--epochs", "2", "--resume"]),
        1,
        &["is a run with train.epochs = 1", "asks for 2", "choose another --out"],
    );
    fails(&train(&good, &["--epochs", "1", "--seed", "3", "--resume"]), 1, &["is a run with seed = 0", "asks for 3"]);

    let weights = fs::read(Path::new(&good).join("last.safetensors")).unwrap();
    let broken = copy_run(&good, &path(&dir, "broken"));
    let name = broken.to_str().unwrap();
    fs::write(broken.join("last.safetensors"), &weights[..weights.len() / 2]).unwrap();
    fails(&["evaluate", name], 1, &["last.safetensors is not a complete .safetensors file"]);

    // A NaN in the last value of the last tensor.
    let mut poisoned = weights.clone();
    let end = poisoned.len();
    poisoned[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(broken.join("last.safetensors"), &poisoned).unwrap();
    fails(&["evaluate", name], 1, &["holds NaN at position", "weights must be finite"]);

    let other = path(&dir, "other");
    succeeds(&["train", "--out", &other, "--epochs", "1", "--set", "model.blocks=[2,1]", "--set", "train.shift=0"]);
    fs::copy(Path::new(&other).join("last.safetensors"), broken.join("last.safetensors")).unwrap();
    fails(&["evaluate", name], 1, &["stages.0.blocks.1", "belong to another network"]);
    let wide = path(&dir, "wide");
    succeeds(&train(&wide, &["--epochs", "1", "--set", "model.padding={extra=1}"]));
    fs::copy(Path::new(&wide).join("last.safetensors"), broken.join("last.safetensors")).unwrap();
    fails(&["evaluate", name], 1, &["conv1.weight", "this network needs"]);

    fs::write(broken.join("last.safetensors"), &weights).unwrap();
    let config = fs::read_to_string(broken.join("config.json")).unwrap();
    fs::write(broken.join("config.json"), config.replacen("\"seed\"", "\"sead\"", 1)).unwrap();
    fails(&["evaluate", name], 1, &["config.json", "unknown field `sead`"]);
    fs::write(broken.join("config.json"), config.replace("\"coeff\": 0.9", "\"coeff\": 1.9")).unwrap();
    fails(&["evaluate", name], 1, &["model.norm.coeff = 1.9"]);
    let mut fewer: serde_json::Value = serde_json::from_str(&config).unwrap();
    fewer["classes"].as_array_mut().unwrap().pop();
    fs::write(broken.join("config.json"), fewer.to_string()).unwrap();
    fails(&["evaluate", name], 1, &["config.json", "classes has 9 entries where input has 10"]);
    fs::write(broken.join("config.json"), config.replacen("\"data\": \"digits\"", "\"data\": \"/gone\"", 1)).unwrap();
    let images = path(&dir, "images");
    fails(&["invert", name, "--out", &images], 2, &["are not in the folder /gone", "--data FOLDER"]);
}

#[test]
fn the_official_sets_are_explained_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(&dir, "data");
    // No proxy answers on this port of this machine, so nothing leaves it.
    let output = iresnet(&["data", "fetch", "mnist", "--data-dir", &data])
        .env("https_proxy", "http://127.0.0.1:9")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("ALL_PROXY", "http://127.0.0.1:9")
        .output()
        .unwrap();
    let (code, _, err) = parts(&output);
    assert_eq!(code, 1);
    for word in ["mnist could not be fetched", "train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb", &data]
    {
        assert!(err.contains(word), "{err}");
    }
    fails(&["data", "verify", "mnist", "--data-dir", &data], 1, &["mnist is neither in "]);
    assert!(succeeds(&["data", "list", "--data-dir", &data]).contains("digits"));
}
