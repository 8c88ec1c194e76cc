//! Tables of the report as text.

use iresnet::measure::Measure;

use super::content::Report;
use super::words::duration;
use crate::table1::{PaperData, Row, paper};
use crate::timing::Call;

/// A table as text; the first cell of a row names it.
pub struct Table {
    pub headings: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Self {
        Table { headings: headings.map(String::from).into(), rows: rows.map(Vec::from).collect() }
    }
}

impl Report {
    /// Table 1.
    pub(super) fn table1(&self) -> Table {
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
    pub(super) fn norms(&self) -> Table {
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

    /// Times, if there are any.
    pub(super) fn times(&self) -> Option<Table> {
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
}
