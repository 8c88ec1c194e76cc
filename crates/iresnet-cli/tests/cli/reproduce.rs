//! `iresnet reproduce`: what it makes, what it keeps, and what it says of networks that diverge.

use std::fs;
use std::path::Path;

use crate::common::*;

#[test]
fn reproduce_makes_the_report_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "out");
    let folder = Path::new(&out);
    let small = ["--epochs", "1", "--set", "model.blocks=[1,1]"];
    // A network that was trained by itself, under the name that it has in a report.
    let alone = path(&dir, "out/c0.9");
    succeeds(&[&["train", "--out", &alone][..], &small].concat());
    let trained = fs::metadata(folder.join("c0.9/last.safetensors")).unwrap().modified().unwrap();
    let arguments = [&["reproduce", "--out", &out, "--json"][..], &small].concat();
    let report: serde_json::Value = serde_json::from_str(&succeeds(&arguments)).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let models: Vec<&str> = rows.iter().map(|row| row["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["vanilla", "batch-norm", "c = 0.9", "c = 0.7", "c = 0.5", "c = 0.3"]);
    assert_eq!(fs::metadata(folder.join("c0.9/last.safetensors")).unwrap().modified().unwrap(), trained);
    let saved: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join("table1.json")).unwrap()).unwrap();
    for row in saved.as_array().unwrap() {
        for key in ["model", "error_percent", "normed_l2", "guaranteed_inverse"] {
            assert!(!row[key].is_null(), "{key}");
        }
    }
    assert_eq!(report["figure4"]["curves"].as_array().unwrap().len(), 12);
    assert_eq!(report["figure3"]["networks"][2]["errors"].as_array().unwrap().len(), 16);
    assert_eq!(report["timing"]["rows"].as_array().unwrap().len(), 5);
    let markdown = fs::read_to_string(folder.join("report.md")).unwrap();
    for picture in ["figure1-free.svg", "figure1-normalised.svg", "figure2.svg", "figure3.png", "figure4.svg"] {
        assert!(markdown.contains(picture) && folder.join(picture).is_file(), "{picture}");
    }

    // What is done is kept, times included; what is missing is made again, as it was.
    let first = fs::read_to_string(folder.join("report.json")).unwrap();
    fs::remove_file(folder.join("parts/figure3-c0.5.json")).unwrap();
    fs::write(folder.join("parts/figure4-batch.json"), "{").unwrap();
    succeeds(&arguments);
    assert!(fs::read_to_string(folder.join("report.json")).unwrap() == first);
    assert!(folder.join("parts/figure3-c0.5.json").is_file());

    // Some parts are no report.
    succeeds(&[&arguments[..], &["--only", "figure4"]].concat());
    assert!(fs::read_to_string(folder.join("report.json")).unwrap() == first);
    assert!(!fs::read_to_string(folder.join("parts.html")).unwrap().contains("Table 1"));

    let line = path(&dir, "line");
    let only: serde_json::Value =
        serde_json::from_str(&succeeds(&["reproduce", "--only", "figure1,figure1", "--out", &line, "--json"])).unwrap();
    assert!(only["figure4"].is_null() && only["figure1"]["lines"].as_array().unwrap().len() == 2);
    assert!(!Path::new(&line).join("vanilla").exists(), "Figure 1 needs no training on images");
    fails(&[&arguments[..], &["--seed", "3"]].concat(), 1, &["is a run with seed = 0", "asks for 3"]);

    // Lost weights of a finished run are in its checkpoint, as they were.
    let weights = fs::read(folder.join("c0.9/last.safetensors")).unwrap();
    fs::remove_file(folder.join("c0.9/last.safetensors")).unwrap();
    succeeds(&arguments);
    assert!(fs::read(folder.join("c0.9/last.safetensors")).unwrap() == weights);
}

#[test]
fn a_report_of_networks_that_diverged_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "out");
    let mut arguments = vec!["reproduce", "--only", "table1,figure2", "--out", &out, "--epochs", "1"];
    for set in ["model.blocks=[1,1]", "train.learning_rate=1e30", "train.muon_rate=0", "train.clip_norm=0"] {
        arguments.extend(["--set", set]);
    }
    fails(&arguments, 3, &["vanilla diverged, and the report is made without it", "c = 0.3 diverged"]);
    let report = fs::read_to_string(Path::new(&out).join("parts.md")).unwrap();
    assert!(report.contains("nothing is shown of it: vanilla, ") && !report.contains("## "), "{report}");
}
