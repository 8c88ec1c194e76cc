use std::sync::atomic::AtomicBool;

use super::*;
use crate::config::ModelConfig;
use crate::config::Norm;
use crate::data::Loader;
use crate::device::Cpu;
use crate::evaluate::error_percent;
use crate::model::IResNet;

#[test]
fn one_process_trains_in_a_folder() {
    let data = crate::data::load("digits", std::path::Path::new(""), None).unwrap();
    let record = RunRecord::new(&data, "digits", RunConfig::preset("digits").unwrap(), 0);
    let folder = tempfile::tempdir().unwrap();
    let dir = RunDir::create(folder.path(), &record, false).unwrap();
    let lock = dir.lock().unwrap();
    assert!(dir.lock().err().unwrap().to_string().contains("being trained by another process"));
    drop(lock);
    dir.lock().unwrap();
    assert!(!folder.path().join("train.lock").exists());
}

#[test]
fn a_run_goes_on_with_its_images_under_another_name() {
    let data = crate::data::load("digits", std::path::Path::new(""), None).unwrap();
    let digits = RunRecord::new(&data, "digits", RunConfig::preset("digits").unwrap(), 0);
    let named = |name: &str| RunRecord { data_name: name.into(), ..digits.clone() };
    let folder = tempfile::tempdir().unwrap();
    RunDir::create(folder.path(), &named("here (image folder)"), false).unwrap();
    RunDir::create(folder.path(), &named("there (image folder)"), true).unwrap();
    // Other images are refused whatever they are called; records of before have names only.
    let other = RunRecord { images_sha256: Some("12ab".into()), ..named("here (image folder)") };
    let error = RunDir::create(folder.path(), &other, true).unwrap_err().to_string();
    assert!(error.contains("is a run with images_sha256 = ") && error.contains("asks for \"12ab\""), "{error}");
    let old = RunRecord { images_sha256: None, ..named("there (image folder)") };
    let error = RunDir::create(folder.path(), &old, true).unwrap_err().to_string();
    assert!(error.contains("data = \"here (image folder)\""), "{error}");
}

/// Statistics are of all training images, which the digits are few enough for, less those held out.
#[test]
fn an_epoch_ends_with_the_statistics_of_the_weights_it_saves_and_the_held_out_images_choose_the_best() {
    let data = crate::data::load("digits", std::path::Path::new(""), None).unwrap();
    let RunConfig { model, train: recipe } = RunConfig::preset("digits").unwrap();
    let config = RunConfig {
        model: ModelConfig { blocks: vec![1, 1], norm: Norm::Spectral { coeff: 0.5 }, ..model },
        train: TrainConfig { epochs: 3, shift: 0, validation: 100, ..recipe },
    };
    let mut record = RunRecord::new(&data, "digits", config, 0);
    let folder = tempfile::tempdir().unwrap();
    let dir = RunDir::create(folder.path(), &record, false).unwrap();
    let (_, progress, _) =
        train(&dir, &record, &data, Together::alone(&Cpu), &AtomicBool::new(false), &mut ()).unwrap();
    let (_, saved) = dir.load().unwrap();
    let (images, held_out) = data.train.hold_out(100);
    let mut again = saved.clone();
    let batches = Loader::evaluate(&images, &record.normalization, 64);
    again.recompute_head_statistics(batches.map(|batch| batch.images));
    let all = |model: &IResNet| [&model.state().running_mean[..], &model.state().running_var].concat();
    for (a, b) in all(&saved).into_iter().zip(all(&again)) {
        assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{a} {b}");
    }
    let errors: Vec<f64> = progress.epochs.iter().map(|e| e.validation_error_percent.unwrap()).collect();
    let last = error_percent(&saved, &held_out, &record.normalization, None);
    assert_eq!(errors.last(), Some(&last));
    assert_eq!(progress.best_error_percent, errors.into_iter().reduce(f64::min));
    record.train.validation = data.train.len();
    let error = train(&dir, &record, &data, Together::alone(&Cpu), &AtomicBool::new(false), &mut ()).unwrap_err();
    let wanted = "train.validation = 1433 is not usable: there are 1433 training images";
    assert_eq!(error.to_string(), wanted);
}
