//! What is done with a trained network: evaluate, invert, encode, spectrum, summary.

use std::fs;
use std::path::Path;

use crate::common::{self, *};

/// A network with spectral normalisation.
fn normalized(dir: &tempfile::TempDir) -> String {
    let run = path(dir, "normalized");
    succeeds(&train(&run, &["--epochs", "3", "--coeff", "0.7"]));
    run
}

#[test]
fn a_run_is_evaluated_and_inverted() {
    let dir = tempfile::tempdir().unwrap();
    let run = normalized(&dir);
    let evaluation = json(&succeeds(&["evaluate", &run, "--json"]));
    assert!(evaluation["error_percent"].as_f64().unwrap() < 90.0);
    assert!(evaluation["normed_l2"].as_f64().unwrap() < 1e-6, "{evaluation}");
    assert_eq!(evaluation["certified"], true);
    assert_eq!(evaluation["tolerance_on"], "error");

    let images = path(&dir, "images");
    let report = json(&succeeds(&["invert", &run, "--out", &images, "--tolerance", "1e-5", "--json"]));
    assert_eq!(report["images"].as_array().unwrap().len(), 16);
    for image in report["images"].as_array().unwrap() {
        let (error, bar) = (image["normed_l2"].as_f64().unwrap(), image["relative_error_bar"].as_f64().unwrap());
        assert!(error <= bar, "{image}");
    }
    for file in ["sheet.png", "0015-reconstruction.png", "0015-difference.png", "report.json"] {
        assert!(Path::new(&images).join(file).is_file(), "{file}");
    }
    // Its own reconstruction is a PNG of the right size, so it can be inverted in turn.
    let again = path(&dir, "again");
    succeeds(&["invert", &run, "--images", &format!("{images}/0000-reconstruction.png"), "--out", &again]);
    fails(&["invert", &run, "--images", &images, "--data", "digits", "--out", &again], 2, &["--data"]);
    // Every picture of a folder and of the folders in it; the sheet is of another size.
    fails(&["invert", &run, "--images", dir.path().to_str().unwrap(), "--out", &again], 2, &["sheet.png is"]);
    let (code, text, _) = parts(&common::run(&["invert", &run, "--out", &again, "--max-iterations", "1"]));
    assert!(code == 3 && text.contains("out of iterations"), "{code} {text}");
    assert!(text.contains("16 of 16 images were not inverted"), "{text}");
    assert!(succeeds(&["summary", &run]).contains("parameters"));
}

#[test]
fn latents_come_back_as_the_images_that_they_are_of() {
    let dir = tempfile::tempdir().unwrap();
    let run = normalized(&dir);
    let (images, decoded) = (path(&dir, "images"), path(&dir, "decoded"));
    succeeds(&["invert", &run, "--out", &images]);
    let latents = path(&dir, "latents.safetensors");
    let classes = json(&succeeds(&["encode", &run, "--out", &latents, "--json"]));
    assert_eq!(classes.as_array().unwrap().len(), 16);
    let logits = tensor(&latents, "logits");
    for (classified, logits) in classes.as_array().unwrap().iter().zip(logits.chunks(10)) {
        let best = (0..10).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        assert_eq!(classified["class"], best.to_string());
        let probability = f64::from(logits[best]).exp() / sum;
        // The program subtracts the largest logit first; exponentials of float32 logits differ by rounding.
        assert!((classified["probability"].as_f64().unwrap() - probability).abs() < 1e-5, "{classified} {probability}");
    }
    assert!(succeeds(&["invert", &run, "--latents", &latents, "--out", &decoded]).contains("latent 15"));
    for file in ["0003-reconstruction.png", "0015-reconstruction.png"] {
        assert_eq!(fs::read(format!("{images}/{file}")).unwrap(), fs::read(format!("{decoded}/{file}")).unwrap());
    }
    // Others are of no image.
    let mut bytes = fs::read(&latents).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[header..].as_chunks_mut::<4>().0.iter_mut().for_each(|value| {
        *value = (f32::from_le_bytes(*value) + 1.0).to_le_bytes();
    });
    let changed = path(&dir, "changed.safetensors");
    fs::write(&changed, bytes).unwrap();
    let text = succeeds(&["invert", &run, "--latents", &changed, "--out", &decoded]);
    assert!(text.contains("16 of 16 latents are of no image"), "{text}");
    let below_a_file = format!("{latents}/file");
    fails(&["encode", &run, "--out", &below_a_file], 1, &["cannot write", "latents.safetensors/file"]);
    let weights = format!("{run}/last.safetensors");
    fails(&["invert", &run, "--latents", &weights, "--out", &decoded], 1, &["holds no latents", "F32 [n, "]);
}

#[test]
fn spectra_are_bounded_drawn_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let run = normalized(&dir);
    let plot = path(&dir, "spectrum.svg");
    let spectrum = json(&succeeds(&["spectrum", &run, "--json", "--plot", &plot]));
    for layer in spectrum["layers"].as_array().unwrap() {
        let (lower, upper) = (layer["norm"]["lower"].as_f64().unwrap(), layer["norm"]["upper"].as_f64().unwrap());
        assert!(lower <= upper && upper < lower * 1.01, "{}: {lower} {upper}", layer["name"]);
    }
    assert!(fs::read_to_string(&plot).unwrap().starts_with("<svg"));
    let effective = path(&dir, "effective.safetensors");
    let one = ["spectrum", &run, "--plot", &plot, "--layer", "3", "--export-effective", &effective];
    assert!(succeeds(&one).contains("zero-padded operator"));
    assert!(fs::read_to_string(&plot).unwrap().contains("stages.0.blocks.0.conv3"));
    // The exported network is the same one, without its power iterations' vectors.
    let folded = path(&dir, "folded");
    fs::create_dir(&folded).unwrap();
    fs::copy(format!("{run}/config.json"), format!("{folded}/config.json")).unwrap();
    fs::copy(&effective, format!("{folded}/last.safetensors")).unwrap();
    let [theirs, ours] = [&run, &folded].map(|run| {
        let mut found = json(&succeeds(&["evaluate", run, "--invert-samples", "4", "--json"]));
        found["run"].take();
        found
    });
    assert_eq!(theirs, ours);
    let both = json(&succeeds(&["spectrum", &run, &run, "--json", "--plot", &plot]));
    assert_eq!(both[1]["layers"], both[0]["layers"]);
    assert!(fs::read_to_string(&plot).unwrap().contains(&format!("c = 0.7 ({run})")), "labels that differ");
    fails(&["spectrum", &run, "--plot", &plot, "--layer", "9"], 2, &["--layer 9", "stages.0.blocks.0.conv1"]);
    fails(&["spectrum"], 2, &["required"]);
    assert!(succeeds(&["certify", &run]).contains("certified: the inverse exists everywhere"));
}

#[test]
fn networks_without_a_certificate_are_evaluated_and_inverted_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for norm in ["none", "batch"] {
        let out = path(&dir, norm);
        succeeds(&train(&out, &[&UNCLIPPED[..], &["--norm", norm]].concat()));
        let (code, text, _) = parts(&run(&["certify", &out]));
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("not certified") && text.contains(".blocks.0: Lip(h g)"), "{text}");
        // Whether it inverts or not, that is a result.
        succeeds(&["evaluate", &out, "--json"]);
        let (code, text, _) = parts(&run(&["invert", &out, "--out", &path(&dir, "images")]));
        assert!(code == 0 || code == 3, "{code} {text}");
        // These are images, whatever their preimages hold in the padding channels: each has an original to compare with.
        let compared = |line: &&str| line.contains(" test image ") && line.contains("normed L2 ");
        assert_eq!(text.lines().filter(compared).count(), 16, "{text}");
        assert!(text.contains("originals, reconstructions and differences"), "{text}");
        assert!(!text.contains("latents are of no image") && !text.contains("padding"), "{text}");
    }
}
