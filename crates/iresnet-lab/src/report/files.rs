//! All files of a report.

use serde::Serialize;

use super::content::Report;
use super::png::png;
use crate::figure1::Figure1;

/// A file of the report: name and content.
pub type File = (String, Vec<u8>);

impl Report {
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
        let figure1_charts = self.figure1.iter().flat_map(Figure1::charts);
        for (name, chart) in ["figure1-free.svg", "figure1-normalised.svg"].iter().zip(figure1_charts) {
            files.push((name.to_string(), chart.file().into_bytes()));
        }
        if let Some(figure) = &self.figure2 {
            files.push(("figure2.svg".into(), figure.norms_chart().file().into_bytes()));
            files.push(("figure2-spectrum.svg".into(), figure.spectrum_chart().file().into_bytes()));
        }
        if let Some(figure) = &self.figure3 {
            files.push(("figure3.png".into(), png(&figure.sheet())));
        }
        if let Some(figure) = &self.figure4 {
            files.push(("figure4.svg".into(), figure.chart().file().into_bytes()));
        }
        files
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_string_pretty(value).expect("a result is JSON").into_bytes()
}
