//! `iresnet bench`: every kind is timed, takes what means something to it, and refuses the rest.

use crate::common::*;

/// Small enough for a moment each.
const KINDS: [&[&str]; 7] = [
    &["step", "--preset", "digits", "--blocks", "1", "1", "--batch", "16", "--memory", "reversible"],
    &["forward", "--preset", "digits", "--blocks", "1", "1", "--batch", "16", "--norm", "batch"],
    &["inverse", "--preset", "digits", "--blocks", "1", "1", "--batch", "16", "--iterations", "3"],
    &["spectrum", "--preset", "digits", "--blocks", "1", "1", "--coeff", "0.5"],
    &["norms", "--preset", "digits", "--blocks", "1", "1"],
    &["norm", "--channels", "4", "--size", "6", "5"],
    &["block", "--channels", "4", "--bottleneck", "2", "--size", "6", "4", "--batch", "3"],
];

#[test]
fn every_kind_is_timed() {
    for options in KINDS {
        let kind = options[0];
        let arguments = [&["bench"], options, &["--repeat", "2", "--threads", "1"]].concat();
        let timing = json(&succeeds(&[&arguments[..], &["--json"]].concat()));
        for key in ["kind", "preset", "device", "batch", "iterations", "memory", "threads", "repeat", "best", "median"]
        {
            assert!(timing.get(key).is_some(), "{kind} lacks {key}");
        }
        assert_eq!((&timing["kind"], &timing["repeat"], &timing["threads"]), (&kind.into(), &2.into(), &1.into()));
        assert!(timing["best"].as_f64().unwrap() <= timing["median"].as_f64().unwrap());
        let preset = if ["norm", "block"].contains(&kind) { "" } else { "digits" };
        assert_eq!(timing["preset"], preset);
        let batch = options.iter().position(|o| *o == "--batch").map(|i| options[i + 1].parse::<u64>().unwrap());
        assert_eq!(timing["batch"].as_u64(), batch, "{kind}");
        assert_eq!(timing["memory"].as_str(), (kind == "step").then_some("reversible"));
        assert_eq!(timing["iterations"].as_u64(), (kind == "inverse").then_some(3));
        let found = ["normed_l2", "mean_iterations"].map(|key| timing.get(key).is_some());
        assert_eq!(found, [kind == "inverse"; 2]);
        assert!(succeeds(&arguments).starts_with(&format!("{kind} {preset}: best ")));
    }
}

#[test]
fn a_trained_run_is_timed_on_its_test_images() {
    let dir = tempfile::tempdir().unwrap();
    let run = path(&dir, "run");
    succeeds(&train(&run, &["--epochs", "1"]));
    let options = ["--run", &run, "--repeat", "1", "--json"];
    for kind in ["step", "forward", "inverse"] {
        let timing = json(&succeeds(&[&["bench", kind, "--batch", "20", "--data", "digits"], &options[..]].concat()));
        assert_eq!((&timing["preset"], &timing["batch"]), (&run.as_str().into(), &20.into()));
    }
    for kind in ["spectrum", "norms"] {
        assert_eq!(json(&succeeds(&[&["bench", kind], &options[..]].concat()))["preset"], run);
    }
    fails(&["bench", "forward", "--run", &run, "--batch", "365"], 2, &["--batch 365 is more than the 364 test images"]);
    for option in [["--preset", "digits"], ["--blocks", "2"], ["--norm", "none"], ["--coeff", "0.5"]] {
        fails(&["bench", "norms", "--run", &run, option[0], option[1]], 2, &[option[0], "cannot be used with"]);
    }
}

#[test]
fn options_of_other_kinds_are_refused() {
    for (kind, option) in [
        ("forward", ["--solver", "anderson"]),
        ("forward", ["--memory", "reversible"]),
        ("step", ["--iterations", "3"]),
        ("step", ["--tolerance", "0"]),
        ("inverse", ["--channels", "7"]),
        ("inverse", ["--device", "cpu"]),
        ("block", ["--preset", "digits"]),
        ("block", ["--run", "run"]),
        ("norm", ["--bottleneck", "7"]),
        ("norm", ["--coeff", "0.5"]),
        ("norms", ["--batch", "7"]),
        ("spectrum", ["--data", "digits"]),
    ] {
        fails(&["bench", kind, option[0], option[1]], 2, &["unexpected argument", option[0]]);
        let help = succeeds(&["bench", kind, "--help"]);
        assert!(!help.contains(option[0]) && help.contains("--repeat"), "{help}");
    }
    fails(&["bench", "forward", "--data", "digits"], 2, &["required", "--run <RUN>"]);
    fails(&["bench", "forward", "--batch", "100000000"], 2, &["--batch", "from 1 to 65536"]);
    fails(&["bench", "step", "--repeat", "0"], 2, &["--repeat", "at least 1"]);
    fails(&["bench", "inverse", "--tolerance=-1"], 2, &["--tolerance", "zero or positive"]);
    fails(&["bench", "block", "--size", "0", "4"], 2, &["--size", "at least 1"]);
    fails(&["bench", "step", "--blocks", "0"], 2, &["--blocks 0"]);
    fails(&["bench"], 2, &["Usage: iresnet bench", "inverse"]);
}
