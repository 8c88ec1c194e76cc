//! `iresnet certify`: proofs, what they are checked against, and what they are good for.

use std::fs;
use std::path::Path;

use crate::common::*;

#[test]
fn a_certificate_is_checked_against_weights_and_image_size() {
    let dir = tempfile::tempdir().unwrap();
    let good = path(&dir, "good");
    succeeds(&train(&good, &UNCLIPPED));
    fails(&["certify", &good, "--verify"], 1, &["cannot read", "No such file", "makes a certificate"]);
    let printed = json(&succeeds(&["certify", &good, "--json", "--tolerance", "1e-3"]));
    let file = Path::new(&good).join("certificate.json");
    let saved = json(&fs::read_to_string(&file).unwrap());
    assert_eq!(printed, saved);
    assert_eq!((&saved["certified"], &saved["image"]), (&true.into(), &serde_json::json!([1, 8, 8])));
    for block in saved["blocks"].as_array().unwrap() {
        let lipschitz = block["lipschitz"].as_f64().unwrap();
        assert!(
            lipschitz < 1.0 && block["lipschitz_training"] == block["lipschitz"] && block["step"] == 1.0,
            "{block}"
        );
        assert!(block["layers"].as_array().unwrap().iter().all(|l| l["norm"].is_f64() && l["method"].is_string()));
    }
    // L^k / (1 - L) <= 1e-3 for L = 0.733, c^3 and the surplus of its bounds, takes 27 iterations.
    let most = saved["iterations"].as_array().unwrap().iter().map(|k| k.as_u64().unwrap()).max();
    assert!((20..40).contains(&most.unwrap()), "{most:?}");
    let verified = succeeds(&["certify", &good, "--verify"]);
    assert!(verified.contains("certified: the inverse exists everywhere"), "{verified}");
    assert!(verified.contains("verified: ") && verified.contains(saved["weights_sha256"].as_str().unwrap()));

    // Other weights under the same configuration.
    let other = path(&dir, "other");
    succeeds(&train(&other, &["--epochs", "1"]));
    let tampered = copy_run(&good, &path(&dir, "tampered"));
    fs::copy(&file, tampered.join("certificate.json")).unwrap();
    fs::copy(Path::new(&other).join("last.safetensors"), tampered.join("last.safetensors")).unwrap();
    let name = tampered.to_str().unwrap();
    fails(
        &["certify", name, "--verify"],
        3,
        &["tampered/certificate.json is for weights with checksum", "were changed"],
    );
    let elsewhere = format!("--verify={}", file.display());
    fails(&["certify", name, &elsewhere], 3, &["good/certificate.json", "were changed"]);
    assert_eq!(
        json(&fs::read_to_string(tampered.join("certificate.json")).unwrap()),
        saved,
        "verifying writes nothing"
    );

    // A better bound than the proof's, and text that is no certificate.
    let forged = path(&dir, "forged.json");
    let mut lie = saved.clone();
    lie["lipschitz_forward"] = serde_json::json!(1.5);
    fs::write(&forged, lie.to_string()).unwrap();
    fails(&["certify", &good, &format!("--verify={forged}")], 3, &["says lipschitz_forward", "a new proof gives"]);
    fs::write(&forged, "{}").unwrap();
    fails(&["certify", &good, &format!("--verify={forged}")], 1, &["forged.json is not a certificate", "image"]);

    // The same vanilla weights on larger images.
    let vanilla = path(&dir, "vanilla");
    succeeds(&train(&vanilla, &[&UNCLIPPED[..], &["--norm", "none"]].concat()));
    assert_eq!(parts(&run(&["certify", &vanilla])).0, 3);
    assert_eq!(parts(&run(&["certify", &vanilla, "--verify"])).0, 3, "confirmed, and still no inverse");
    let larger = copy_run(&vanilla, &path(&dir, "larger"));
    fs::copy(Path::new(&vanilla).join("certificate.json"), larger.join("certificate.json")).unwrap();
    let config = fs::read_to_string(larger.join("config.json")).unwrap();
    let config = config.replace("\"height\": 8", "\"height\": 16").replace("\"width\": 8", "\"width\": 16");
    fs::write(larger.join("config.json"), config).unwrap();
    fails(&["certify", larger.to_str().unwrap(), "--verify"], 3, &["is for images of [1, 8, 8]", "takes [1, 16, 16]"]);
}

#[test]
fn an_uncertified_network_is_finalized_beside_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "vanilla");
    succeeds(&train(&out, &[&UNCLIPPED[..], &["--norm", "none"]].concat()));
    let (code, text, _) = parts(&run(&["certify", &out]));
    assert!(code == 3 && text.contains("times what would do") && text.contains("--finalize"), "{text}");
    let before = fs::read(Path::new(&out).join("last.safetensors")).unwrap();
    let report = json(&succeeds(&["certify", &out, "--finalize", "--json"]));
    assert!(fs::read(Path::new(&out).join("last.safetensors")).unwrap() == before, "the trained weights stay");
    assert_eq!(report["certified"], false);
    let finalized = &report["finalized"];
    assert!(!finalized["layers"].as_array().unwrap().is_empty());
    assert!(
        finalized["error_percent"].as_array().unwrap().iter().all(|e| (0.0..=100.0).contains(&e.as_f64().unwrap()))
    );
    let new = format!("{out}/finalized");
    let certificate = json(&fs::read_to_string(Path::new(&new).join("certificate.json")).unwrap());
    assert_eq!(certificate["weights_sha256"], finalized["weights_sha256"]);
    assert!(certificate["blocks"].as_array().unwrap().iter().all(|b| b["lipschitz"].as_f64().unwrap() <= 0.99));
    // It is a run like any other: certified, invertible, with nothing left to do.
    assert!(succeeds(&["certify", &new, "--verify"]).contains("certified: the inverse exists everywhere"));
    assert!(succeeds(&["certify", &new, "--finalize"]).contains("nothing to finalize"));
    let evaluation = json(&succeeds(&["evaluate", &new, "--json", "--invert-samples", "50"]));
    assert_eq!(evaluation["certified"], true);
    assert_eq!(evaluation["error_percent"], finalized["error_percent"][1]);
    fails(&["certify", &out, "--finalize", "--target", "1"], 2, &["--target 1", "strictly between 0 and 1"]);
    fails(&["certify", &out, "--finalize", "--verify"], 2, &["cannot be used with"]);
}

#[test]
fn margins_are_certified_for_every_image() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "run");
    succeeds(&train(&out, &["--epochs", "4", "--coeff", "0.5"]));
    let error =
        json(&succeeds(&["evaluate", &out, "--json", "--invert-samples", "1"]))["error_percent"].as_f64().unwrap();
    let report = json(&succeeds(&["certify", &out, "--radii", "0,0.05,100", "--json"]));
    let margins = &report["margins"];
    let accuracy: Vec<f64> =
        margins["certified_accuracy"].as_array().unwrap().iter().map(|a| a["accuracy"].as_f64().unwrap()).collect();
    // At radius 0 it is the accuracy itself; nothing holds 100 away, ten times the length of a white image.
    assert!((accuracy[0] - (1.0 - error / 100.0)).abs() < 1e-9, "{accuracy:?} {error}");
    assert!(accuracy[1] <= accuracy[0] && accuracy[2] == 0.0, "{accuracy:?}");
    let images = margins["images"].as_array().unwrap();
    assert_eq!(images.len(), 364);
    assert!(images.iter().any(|image| image["radius"].as_f64().unwrap() > 0.0));
    assert!(Path::new(&out).join("margins.json").is_file());
    fails(&["certify", &out, "--radii", "-1"], 2, &["--radii"]);
    let other = succeeds(&["certify", &out, "--margin", "--data", "digits", "--json"]);
    assert_eq!(json(&other)["margins"], json(&succeeds(&["certify", &out, "--margin", "--json"]))["margins"]);
    fails(&["certify", &out, "--tolerance", "0"], 2, &["--tolerance 0 must be positive"]);
}
