//! The report: one self-contained HTML file, Markdown, JSON and the figures as files.

mod captions;
mod html;
mod markdown;
mod png;

use iresnet::measure::Measure;
use iresnet::train::RunConfig;
use serde::Serialize;

use crate::figure1::Figure1;
use crate::figure2::Figure2;
use crate::figure3::Figure3;
use crate::figure4::Figure4;
use crate::table1::{PaperData, Row, paper};
use crate::timing::{Call, Timing};

/// Everything that was made; parts that were not asked for are absent.
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

/// A file of the report: name and content.
pub type File = (String, Vec<u8>);

/// A table as text; the first cell of a row names it.
struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Self {
        Table { headings: headings.map(String::from).into(), rows: rows.map(Vec::from).collect() }
    }
}

impl Report {
    fn table1(&self) -> Table {
        let cells = |row: &Row| {
            let paper = self.paper(row);
            let outcomes = row.outcomes.iter().map(|(outcome, n)| format!("{n} {outcome}"));
            [
                row.model.clone(),
                format!("{:.2}", row.error_percent),
                paper.map_or_else(String::new, |(error, _)| format!("{error:.2}")),
                row.normed_l2.scientific(),
                paper.map_or_else(String::new, |(_, l2)| l2.into()),
                if row.guaranteed_inverse { "yes" } else { "no" }.into(),
                format!("{:.3}", row.largest_block_lipschitz),
                format!("{:.1}", row.iterations),
                duration(row.training_seconds),
                outcomes.collect::<Vec<_>>().join(", "),
            ]
        };
        let headings = [
            "model",
            "error %",
            "paper's error %",
            "normed L2",
            "paper's normed L2",
            "guaranteed inverse",
            "Lip(g) at most",
            "iterations a block",
            "training",
            "outcomes",
        ];
        Table::new(headings, self.rows.iter().map(cells))
    }

    /// The reconstruction error as other norms have it.
    fn norms(&self) -> Table {
        let cells = |row: &Row| {
            let per = |divisor: f64| Measure(row.distance.0 / divisor).scientific();
            let values = row.image_values as f64;
            [
                row.model.clone(),
                self.paper(row).map_or_else(String::new, |(_, l2)| l2.into()),
                row.normed_l2.scientific(),
                per(1.0),
                per(values.sqrt()),
                per(values),
            ]
        };
        // A bar would end a cell in Markdown.
        let headings = [
            "model",
            "paper's normed L2",
            "\u{2016}x \u{2212} x^\u{2016} / \u{2016}x\u{2016}",
            "\u{2016}x \u{2212} x^\u{2016}",
            "over the root of the number of values",
            "over the number of values",
        ];
        Table::new(headings, self.rows.iter().map(cells))
    }

    fn times(&self) -> Option<Table> {
        let timing = self.timing.as_ref()?;
        let seconds = |seconds: f64| format!("{seconds:.3}");
        let cells = |call: &Call| [call.what.clone(), seconds(call.best_seconds), seconds(call.median_seconds)];
        Some(Table::new([&format!("{} images", timing.images), "best s", "median s"], timing.rows.iter().map(cells)))
    }

    /// What the paper has for a row; its figures for MNIST where it has none for the data.
    fn paper(&self, row: &Row) -> Option<(f64, &'static str)> {
        paper(&row.model, self.paper.unwrap_or(PaperData::Mnist))
    }

    /// The table's first columns for a terminal; nothing without a table.
    pub fn text(&self) -> String {
        let Table { headings, rows } = self.table1();
        if rows.is_empty() {
            return String::new();
        }
        let rows: Vec<Vec<String>> = [headings].into_iter().chain(rows).collect();
        let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
        let cell = |row: &[String], i: usize| match i {
            0 => format!("{:<w$}", row[i], w = width(i)),
            _ => format!("{:>w$}", row[i], w = width(i)),
        };
        let lines = rows.iter().map(|row| (0..8).map(|i| cell(row, i)).collect::<Vec<_>>().join("  ") + "\n");
        let note = if self.paper.is_none() { "(The paper's figures are for MNIST.)\n" } else { "" };
        lines.chain([note.into()]).collect()
    }

    /// `<name>.html`, `<name>.md`, `<name>.json`, `table1.json` and the figures.
    pub fn files(&self, name: &str) -> Vec<File> {
        let mut files = vec![
            (format!("{name}.html"), self.html().into_bytes()),
            (format!("{name}.md"), self.markdown().into_bytes()),
            (format!("{name}.json"), serde_json::to_vec(self).expect("a report is JSON")),
        ];
        if !self.rows.is_empty() {
            files.push(("table1.json".into(), json(&self.rows)));
        }
        for (name, chart) in ["figure1-free.svg", "figure1-normalised.svg"].iter().zip(self.figure1_charts()) {
            files.push((name.to_string(), chart.file().into_bytes()));
        }
        if let Some(figure) = &self.figure2 {
            files.push(("figure2.svg".into(), figure.norms_chart().file().into_bytes()));
            files.push(("figure2-spectrum.svg".into(), figure.spectrum_chart().file().into_bytes()));
        }
        if let Some(figure) = &self.figure3 {
            files.push(("figure3.png".into(), png::png(&figure.sheet())));
        }
        if let Some(figure) = &self.figure4 {
            files.push(("figure4.svg".into(), figure.chart().file().into_bytes()));
        }
        files
    }

    fn figure1_charts(&self) -> Vec<crate::chart::Chart> {
        self.figure1.iter().flat_map(Figure1::charts).collect()
    }
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

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_string_pretty(value).expect("a result is JSON").into_bytes()
}

/// Seconds as `45 s`, `12 min` or `3.4 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_divided_by_the_number_of_values() {
        let row = |model: &str, distance: f64| Row {
            model: model.into(),
            error_percent: 1.0,
            normed_l2: Measure(2e-7),
            largest_normed_l2: Measure(3e-7),
            distance: Measure(distance),
            image_values: 100,
            samples: 1,
            iterations: 1.0,
            outcomes: Default::default(),
            guaranteed_inverse: true,
            largest_block_lipschitz: 0.5,
            epochs: 1,
            seed: 0,
            training_seconds: 1.0,
            inverse_seconds: 1.0,
            file_sha256: String::new(),
        };
        let rows = vec![row("c = 0.9", 5e-6), row("batch-norm", f64::INFINITY)];
        let report = Report { data: "mnist".into(), paper: Some(PaperData::Mnist), rows, ..Report::default() };
        let Table { headings, rows } = report.norms();
        assert_eq!(rows[0], ["c = 0.9", "2.2e-7", "2.0e-7", "5.0e-6", "5.0e-7", "5.0e-8"]);
        assert_eq!(rows[1][3..], ["inf", "inf", "inf"]);
        for page in [report.html(), report.markdown()] {
            assert!(headings[2..].iter().all(|head| page.contains(head)) && page.contains("5.0e-8"), "{page}");
        }
    }

    #[test]
    fn a_report_says_what_is_in_it() {
        let line = Report { data: "digits".into(), version: "1".into(), ..Report::default() };
        assert!(!line.lede().contains("trained"), "{}", line.lede());
        let config = RunConfig::preset_with("digits", &["train.clip_norm=0.25".into(), "model.dropout=0.1".into()]);
        let networks = vec!["vanilla".into(), "c = 0.9".into()];
        let two = Report { networks, config: config.ok(), ..line };
        for part in ["2 networks", "shortened to 0.25", "dropout 0.1"] {
            assert!(two.lede().contains(part), "{part}: {}", two.lede());
        }
        // Only figures that are shown are spoken of.
        let cifar = Report { paper: Some(PaperData::Cifar10), ..two.clone() };
        assert!(cifar.norms_caption().contains("7.2e-9") && !two.norms_caption().contains("7.2e-9"));
    }
}
