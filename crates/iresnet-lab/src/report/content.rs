//! What is in a report, which is also its JSON.

use iresnet::train::RunConfig;
use serde::Serialize;

use crate::figure1::Figure1;
use crate::figure2::Figure2;
use crate::figure3::Figure3;
use crate::figure4::Figure4;
use crate::table1::{PaperData, Row};
use crate::timing::Timing;

/// Everything that was made; other parts are absent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What the data is called.
    pub data: String,
    /// The paper's figures that belong to it.
    pub paper: Option<PaperData>,
    /// Name of the preset.
    pub preset: String,
    /// Seed.
    pub seed: u64,
    /// Epochs of each network.
    pub epochs: usize,
    /// Version of this software.
    pub version: String,
    /// What it ran on.
    pub device: String,
    /// Threads.
    pub threads: usize,
    /// How the networks were trained, but for the normalisation, in which they differ; absent if none were.
    #[serde(serialize_with = "without_norm")]
    pub config: Option<RunConfig>,
    /// Labels of the networks that were trained.
    pub networks: Vec<String>,
    /// Most iterations a block in Table 1.
    pub max_iterations: usize,
    /// Table 1, one row a model.
    pub rows: Vec<Row>,
    /// Models whose loss stopped being a number: they have no row.
    pub diverged: Vec<String>,
    /// Trajectories.
    pub figure1: Option<Figure1>,
    /// Spectra.
    pub figure2: Option<Figure2>,
    /// Pictures. They are too many bytes for the JSON, which has the errors; the last ones are a file of their own.
    #[serde(serialize_with = "errors_alone")]
    pub figure3: Option<Figure3>,
    /// Error against iterations.
    pub figure4: Option<Figure4>,
    /// Times.
    pub timing: Option<Timing>,
}

/// What all networks have in common.
fn without_norm<S: serde::Serializer>(config: &Option<RunConfig>, serializer: S) -> Result<S::Ok, S::Error> {
    let common = |config: &RunConfig| {
        let mut value = serde_json::to_value(config).expect("a configuration is JSON");
        value["model"].as_object_mut().map(|model| model.remove("norm"));
        value
    };
    config.as_ref().map(common).serialize(serializer)
}

/// Figure 3 without its pictures.
fn errors_alone<S: serde::Serializer>(figure: &Option<Figure3>, serializer: S) -> Result<S::Ok, S::Error> {
    let errors = |figure: &Figure3| {
        let networks = figure.networks.iter().map(|n| serde_json::json!({ "model": n.model, "errors": n.errors }));
        serde_json::json!({
            "counts": figure.counts,
            "classes": figure.classes,
            "networks": networks.collect::<Vec<_>>(),
        })
    };
    figure.as_ref().map(errors).serialize(serializer)
}
