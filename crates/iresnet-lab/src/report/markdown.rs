//! The report in Markdown, with the figures as files beside it.

use super::{HEADINGS, NORMS, Report};
use crate::figure4::TARGETS;

impl Report {
    /// The report in Markdown.
    pub fn markdown(&self) -> String {
        let mut parts = vec![format!("# Invertible residual networks on {}", self.data), self.lede()];
        let mut section = |title: &str, caption: Option<String>, body: String| {
            if let Some(caption) = caption {
                parts.extend([format!("## {title}"), body, caption]);
            }
        };
        let rows: Vec<Vec<String>> = self.cells().iter().map(|row| row.to_vec()).collect();
        section("Table 1", (!rows.is_empty()).then(|| self.table_caption()), table(&HEADINGS, &rows));
        let norms: Vec<Vec<String>> = self.norm_cells().iter().map(|row| row.to_vec()).collect();
        section("Which norm", (!norms.is_empty()).then(|| self.norms_caption()), table(&NORMS, &norms));
        let pictures = "![without constraint](figure1-free.svg) ![with constraint](figure1-normalised.svg)";
        section("Figure 1", self.figure1_caption(), pictures.into());
        section("Figure 2", self.figure2_caption(), "![norms](figure2.svg)".into());
        section("One layer\u{2019}s spectrum", self.spectrum_caption(), "![spectrum](figure2-spectrum.svg)".into());
        section("Figure 3", self.figure3_caption(), "![reconstructions](figure3.png)".into());
        let figure4 =
            self.figure4_caption().zip(self.factor_sentences()).map(|(a, b)| format!("{a}\n\n**{}** {}", b[0], b[1]));
        section("Figure 4", figure4, format!("![error against iterations](figure4.svg)\n\n{}", self.prices()));
        section("Time", self.timing_caption(), self.times());
        parts.join("\n\n") + "\n"
    }

    fn prices(&self) -> String {
        let headings: Vec<String> = ["model".into(), "solver".into()]
            .into_iter()
            .chain(TARGETS.map(|target| format!("iterations to {target:.0e}")))
            .collect();
        let curves = self.figure4.iter().flat_map(|figure| &figure.curves);
        let rows: Vec<Vec<String>> = curves
            .map(|curve| {
                let counts = curve.evaluations.iter().map(|n| n.map_or("never".into(), |n| n.to_string()));
                [curve.model.clone(), curve.solver.clone()].into_iter().chain(counts).collect()
            })
            .collect();
        table(&headings.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
    }

    fn times(&self) -> String {
        let Some(timing) = &self.timing else { return String::new() };
        let seconds = |seconds: f64| format!("{seconds:.3}");
        let rows = timing.rows.iter();
        let rows = rows.map(|row| vec![row.what.clone(), seconds(row.best_seconds), seconds(row.median_seconds)]);
        table(&[&format!("{} images", timing.images), "best s", "median s"], &rows.collect::<Vec<_>>())
    }
}

fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut lines = vec![format!("| {} |", headings.join(" | ")), format!("|{}", " --- |".repeat(headings.len()))];
    lines.extend(rows.iter().map(|row| format!("| {} |", row.join(" | "))));
    lines.join("\n")
}
