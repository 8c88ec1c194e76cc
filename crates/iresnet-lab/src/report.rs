//! The report: one self-contained HTML file, Markdown and JSON.

use std::fmt::Write;

use crate::table1::{PAPER, Table1};

/// Columns of the table, the same in every format.
fn cells(table: &Table1) -> Vec<Vec<String>> {
    let paper_column = usize::from(table.data != "cifar10" && !table.data.contains("cifar"));
    table
        .rows
        .iter()
        .map(|row| {
            let paper = PAPER.iter().find(|(name, _, _)| *name == row.model);
            vec![
                row.model.clone(),
                format!("{:.2}", row.error_percent),
                scientific(row.reconstruction.normed_l2),
                if row.guaranteed_inverse { "yes" } else { "no" }.into(),
                format!("{:.3}", row.largest_block_lipschitz),
                format!("{:.1}", row.reconstruction.iterations),
                row.reconstruction
                    .outcomes
                    .iter()
                    .map(|(o, n)| format!("{n} {}", words(&format!("{o:?}"))))
                    .collect::<Vec<_>>()
                    .join(", "),
                format!("{:.0}", row.training_seconds),
                paper.map_or_else(String::new, |(_, error, _)| format!("{:.2}", error[paper_column])),
                paper.map_or_else(String::new, |(_, _, l2)| l2[paper_column].to_string()),
            ]
        })
        .collect()
}

const HEADINGS: [&str; 10] = [
    "model",
    "error %",
    "normed L2",
    "guaranteed inverse",
    "Lip(g) at most",
    "iterations a block",
    "outcomes",
    "training s",
    "paper: error %",
    "paper: normed L2",
];

/// `RoundOffFloor` as `round off floor`.
fn words(name: &str) -> String {
    name.chars().fold(String::new(), |mut out, c| {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
        out
    })
}

fn scientific(value: f64) -> String {
    if value.is_finite() { format!("{value:.1e}") } else { "inf".into() }
}

/// What the columns mean.
fn caption(table: &Table1) -> String {
    let epochs = table.rows.first().map_or(0, |row| row.epochs);
    let samples = table.rows.first().map_or(0, |row| row.reconstruction.samples);
    let against = if table.data == "mnist" || table.data.contains("cifar") {
        ""
    } else {
        " The paper has no figures for this data; its MNIST ones stand beside for orientation."
    };
    let diverged = match table.diverged.as_slice() {
        [] => String::new(),
        models => format!(" Training diverged, so that there is no row: {}.", models.join(", ")),
    };
    format!(
        "{}, preset {}, {epochs} epochs, seed {}, iresnet {}. Normed L2 is the mean over {samples} test images of \
         ||x - x^|| / ||x|| on the network's input, after at most {} iterations a block; an image's iteration ends \
         early at the rounding of float32. The guarantee comes from upper bounds of the operators in use.{against}{diverged}",
        table.data, table.preset, table.seed, table.version, table.max_iterations
    )
}

/// The table for a terminal.
pub fn text(table: &Table1) -> String {
    let rows = cells(table);
    let width = |i: usize| rows.iter().map(|r| r[i].len()).chain([HEADINGS[i].len()]).max().unwrap_or(0);
    let line = |cells: &[String]| -> String {
        let padded = cells
            .iter()
            .take(6)
            .enumerate()
            .map(|(i, c)| if i == 0 { format!("{c:<w$}", w = width(i)) } else { format!("{c:>w$}", w = width(i)) });
        padded.collect::<Vec<_>>().join("  ")
    };
    let mut out = line(&HEADINGS.map(String::from)) + "\n";
    rows.iter().for_each(|row| out += &(line(row) + "\n"));
    out
}

/// The table in Markdown.
pub fn markdown(table: &Table1) -> String {
    let mut out = format!("# Table 1\n\n{}\n\n| {} |\n|", caption(table), HEADINGS.join(" | "));
    HEADINGS.iter().for_each(|_| out += " --- |");
    out.push('\n');
    for row in cells(table) {
        _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

/// The report as one HTML file that needs nothing else.
pub fn html(table: &Table1) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let heads: String = HEADINGS.iter().map(|h| format!("<th scope=\"col\">{}</th>", escape(h))).collect();
    let rows: String = cells(table)
        .iter()
        .map(|row| {
            let cells: String = row[1..].iter().map(|c| format!("<td>{}</td>", escape(c))).collect();
            format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(&row[0]))
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Invertible residual networks: {data}</title>\n<style>\n{STYLE}</style></head>\n<body><main>\n\
         <h1>Invertible residual networks on {data}</h1>\n<h2>Table 1</h2>\n<div class=\"wide\"><table>\n\
         <thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n<p>{caption}</p>\n</main></body></html>\n",
        data = escape(&table.data),
        caption = escape(&caption(table)),
    )
}

const STYLE: &str = ":root { color-scheme: light dark; }\n\
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }\n\
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }\n\
.wide { overflow-x: auto; }\n\
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }\n\
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }\n\
th[scope=row], td:nth-child(7) { text-align: left; }\n\
thead th { vertical-align: bottom; white-space: normal; }\n\
p { max-width: 46rem; }\n";
