//! `iresnet train`: interruptions, and memory.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::*;

#[test]
fn a_killed_or_stopped_run_ends_with_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--epochs", "40", "--norm", "spectral"];
    let whole = path(&dir, "whole");
    succeeds(&train(&whole, &options));
    let expected = fs::read(Path::new(&whole).join("last.safetensors")).unwrap();
    let metrics = fs::read_to_string(Path::new(&whole).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 40);
    for signal in ["KILL", "INT"] {
        let out = path(&dir, signal);
        let arguments = train(&out, &options);
        let mut child = iresnet(&arguments).stderr(Stdio::null()).spawn().unwrap();
        // After the first epoch, whose checkpoint may be there or not.
        wait_for(&Path::new(&out).join("metrics.jsonl"));
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = child.wait().unwrap();
        if signal == "INT" {
            assert_eq!(status.code(), Some(130), "Ctrl-C stops cleanly: {status}");
        }
        let done = fs::read_to_string(Path::new(&out).join("metrics.jsonl")).unwrap().lines().count();
        assert!(done < 40, "{signal} came in the middle, after {done} epochs");
        succeeds(&[&arguments[..], &["--resume"]].concat());
        let resumed = fs::read(Path::new(&out).join("last.safetensors")).unwrap();
        assert!(resumed == expected, "weights after {signal} and --resume, bit for bit");
    }
}

/// Stopped and resumed to the same bits, certified and inverted; in reversible mode too.
#[test]
fn a_network_with_actnorms_is_trained_certified_and_inverted() {
    let dir = tempfile::tempdir().unwrap();
    let actnorm = ["--norm", "spectral", "--coeff", "0.7", "--set", "model.actnorm=true"];
    let whole = path(&dir, "whole");
    succeeds(&[&train(&whole, &actnorm)[..], &["--epochs", "20"]].concat());
    let scales = tensor(&format!("{whole}/last.safetensors"), "stages.0.blocks.0.actnorm.log_scale");
    assert!(scales[0] != 0.0, "{scales:?}");
    let stopped = path(&dir, "stopped");
    let arguments = [&train(&stopped, &actnorm)[..], &["--epochs", "20"]].concat();
    let mut child = iresnet(&arguments).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&Path::new(&stopped).join("metrics.jsonl"));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap();
    succeeds(&[&arguments[..], &["--resume"]].concat());
    let weights = |run: &str| fs::read(Path::new(run).join("last.safetensors")).unwrap();
    assert!(weights(&stopped) == weights(&whole), "bit for bit");
    assert!(succeeds(&["certify", &whole]).contains("certified"));
    let inverted = succeeds(&["evaluate", &whole, "--json"]);
    assert!(json(&inverted)["normed_l2"].as_f64().is_some_and(|error| error < 1e-6), "{inverted}");
    let reversible = path(&dir, "reversible");
    succeeds(&[&train(&reversible, &actnorm)[..], &["--epochs", "1", "--memory", "reversible"]].concat());
    let both = path(&dir, "both");
    let both = [&train(&both, &["--norm", "batch"])[..], &actnorm[4..]].concat();
    fails(&both, 2, &["model.actnorm = true", "false with batch normalisation"]);
}

/// A batch that does not fit the address space in standard mode trains in reversible mode.
#[test]
#[cfg(target_os = "linux")]
fn reversible_steps_fit_where_standard_ones_do_not() {
    let step = |memory: &str| {
        let options = "bench step --preset paper-cifar10 --blocks 16 16 16 --repeat 1 --memory";
        let command = format!("ulimit -v 420000; exec {} {options} {memory}", env!("CARGO_BIN_EXE_iresnet"));
        parts(&Command::new("bash").args(["-c", &command]).output().unwrap())
    };
    let (code, out, err) = step("reversible");
    assert_eq!(code, 0, "{out}\n{err}");
    let (code, _, err) = step("standard");
    assert!(code != 0 && err.contains("memory allocation"), "{err}");
}

#[test]
fn memory_modes_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "out");
    fails(&train(&out, &["--memory", "little"]), 2, &["standard, checkpoint=K", "or auto"]);
    fails(&train(&out, &["--memory", "reversible", "--norm", "none"]), 2, &["need not have", "checkpoint=K"]);
    let epoch = ["--epochs", "1", "--set", "model.blocks=[2,2]"];
    for memory in ["reversible", "checkpoint=2"] {
        let out = path(&dir, memory);
        succeeds(&train(&out, &[&epoch[..], &["--memory", memory]].concat()));
        let metrics = fs::read_to_string(Path::new(&out).join("metrics.jsonl")).unwrap();
        assert!(metrics.contains(&format!("\"memory\":\"{memory}\"")), "{metrics}");
    }
    let summary = succeeds(&["summary", "--preset", "paper-cifar10", "--batch", "64"]);
    assert!(summary.contains("training step of 64 images") && summary.contains("MiB reversible"), "{summary}");
}
