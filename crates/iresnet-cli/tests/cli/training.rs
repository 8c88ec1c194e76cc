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
