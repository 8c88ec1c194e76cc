//! The report in Markdown, with the figures as files beside it.

use super::content::Report;
use super::tables::Table;
use crate::figure4::{Curve, TARGETS};

impl Report {
    /// The report in Markdown.
    pub fn markdown(&self) -> String {
        let mut parts = vec![format!("# Invertible residual networks on {}", self.data), self.lede()];
        let mut section = |title: &str, caption: Option<String>, body: String| {
            if let Some(caption) = caption {
                parts.extend([format!("## {title}"), body, caption]);
            }
        };
        let any = !self.rows.is_empty();
        section("Table 1", any.then(|| self.table_caption()), self.table1().markdown());
        section("Which norm", any.then(|| self.norms_caption()), self.norms().markdown());
        let pictures = "![without constraint](figure1-free.svg) ![with constraint](figure1-normalised.svg)";
        section("Figure 1", self.figure1_caption(), pictures.into());
        section("Figure 2", self.figure2_caption(), "![norms](figure2.svg)".into());
        section("One layer\u{2019}s spectrum", self.spectrum_caption(), "![spectrum](figure2-spectrum.svg)".into());
        section("Figure 3", self.figure3_caption(), "![reconstructions](figure3.png)".into());
        let figure4 =
            self.figure4_caption().zip(self.factor_sentences()).map(|(a, b)| format!("{a}\n\n**{}** {}", b[0], b[1]));
        section(
            "Figure 4",
            figure4,
            format!("![error against iterations](figure4.svg)\n\n{}", self.prices().markdown()),
        );
        section("Time", self.timing_caption(), self.times().map(|times| times.markdown()).unwrap_or_default());
        parts.join("\n\n") + "\n"
    }

    /// Iterations to each of the errors.
    fn prices(&self) -> Table {
        let columns = TARGETS.map(|target| format!("iterations to {target:.0e}"));
        let curves = self.figure4.iter().flat_map(|figure| &figure.curves);
        let row = |curve: &Curve| {
            let counts = curve.evaluations.iter().map(|n| n.map_or("never".into(), |n| n.to_string()));
            [curve.model.clone(), curve.solver.clone()].into_iter().chain(counts).collect()
        };
        let headings = ["model".into(), "solver".into()].into_iter().chain(columns).collect();
        Table { headings, rows: curves.map(row).collect() }
    }
}

impl Table {
    fn markdown(&self) -> String {
        let rule = format!("|{}", " --- |".repeat(self.headings.len()));
        let row = |row: &Vec<String>| format!("| {} |", row.join(" | "));
        [row(&self.headings), rule].into_iter().chain(self.rows.iter().map(row)).collect::<Vec<_>>().join("\n")
    }
}
