//! The report as one HTML file that needs nothing else.

use iresnet::measure::Measure;

use super::content::Report;
use super::png::data_uri;
use super::tables::Table;
use crate::figure3::Figure3;
use crate::figure4::{Curve, TARGETS};
use crate::markup::escape;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

impl Report {
    /// The whole page.
    pub fn html(&self) -> String {
        let sections = [
            self.table_section(),
            self.figure1_section(),
            self.figure2_section(),
            self.figure3_section(),
            self.figure4_section(),
            self.timing_section(),
        ];
        let data = escape(&self.data);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
             <title>Invertible residual networks on {data}</title>\n<style>\n{STYLE}{sprites}</style>\n</head>\n<body>\n\
             <main>\n<header>\n<h1>Invertible residual networks on {data}</h1>\n<p>{lede}</p>\n</header>\n\
             {sections}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            sprites = self.figure3.as_ref().map(sprite_rules).unwrap_or_default(),
            lede = escape(&self.lede()),
            sections = sections.into_iter().flatten().collect::<String>(),
        )
    }

    fn table_section(&self) -> Option<String> {
        let body = format!(
            "{}<p class=\"caption\">{}</p>\n<h3>Which norm</h3>\n{}",
            self.table1().html("Table 1"),
            escape(&self.table_caption()),
            self.norms().html("Norms")
        );
        (!self.rows.is_empty()).then(|| section("table1", "Table 1: six networks", &body, &self.norms_caption()))
    }

    fn figure1_section(&self) -> Option<String> {
        let caption = self.figure1_caption()?;
        let figure = self.figure1.as_ref()?;
        let panels: String = figure
            .charts()
            .iter()
            .zip(&figure.lines)
            .map(|(chart, line)| format!("<div><h3>{}</h3>\n{}</div>\n", escape(&line.label), chart.svg()))
            .collect();
        let body = format!("<div class=\"pair\">\n{panels}</div>\n");
        Some(section("figure1", "Figure 1: trajectories on the line", &body, &caption))
    }

    fn figure2_section(&self) -> Option<String> {
        let figure = self.figure2.as_ref()?;
        let body = format!(
            "{}\n<p class=\"caption\">{}</p>\n<h3>One layer\u{2019}s whole spectrum</h3>\n{}",
            wide("Norms of all convolutions", &figure.norms_chart().svg()),
            escape(&self.figure2_caption()?),
            wide("Spectrum of one convolution", &figure.spectrum_chart().svg()),
        );
        Some(section("figure2", "Figure 2: norms of the convolutions", &body, &self.spectrum_caption()?))
    }

    fn figure3_section(&self) -> Option<String> {
        let figure = self.figure3.as_ref()?;
        let [_, height, width] = figure.shape;
        let images = figure.classes.len();
        let classes = escape(&figure.classes.join(", "));
        let strip = |name: &str, class: &str, error: &str| {
            format!(
                "<div class=\"reconstruction\"><span class=\"name\">{name}</span>\
                 <div class=\"strip\" role=\"img\" aria-label=\"{name}: {classes}\">{}</div>\
                 <span class=\"error\">{error}</span></div>\n",
                (0..images).map(|i| picture(class, i)).collect::<String>()
            )
        };
        let rows: String = figure
            .networks
            .iter()
            .enumerate()
            .map(|(i, network)| {
                let name = escape(&network.model);
                let list = errors(&network.errors);
                let error = format!("<span data-errors=\"{list}\">{}</span>", last(&network.errors));
                strip(&name, &format!("sprite-{i} moving"), &error)
            })
            .collect();
        let body = format!(
            "{}<div class=\"reconstructions\" style=\"--columns:{images};--shape:{width}/{height}\">\n{}{rows}</div>\n",
            slider("figure3-iterations", &figure.counts),
            strip("test images", "originals", ""),
        );
        Some(section("figure3", "Figure 3: there and back", &body, &self.figure3_caption()?))
    }

    fn figure4_section(&self) -> Option<String> {
        let figure = self.figure4.as_ref()?;
        let chart = figure.chart();
        let (left, top, right, bottom) = chart.plot_area();
        let cursor = format!(
            "<path class=\"cursor\" data-left=\"{left}\" data-right=\"{right}\" data-longest=\"{}\" \
             transform=\"translate({right} 0)\" d=\"M0 {top}V{bottom}\" stroke=\"currentColor\" stroke-dasharray=\"2 3\"/></svg>",
            chart.x.1,
        );
        let svg = chart.svg().replace("</svg>", &cursor);
        let shape = self.figure3.as_ref().map_or([1, 1, 1], |figure3| figure3.shape);
        let columns = self.figure3.as_ref().map_or(1, |figure3| figure3.classes.len());
        let targets: String = TARGETS.iter().map(|t| format!("<th scope=\"col\">to {t:.0e}</th>")).collect();
        let table = scrolling(
            "Errors and iterations needed",
            &format!(
                "<thead><tr><th scope=\"col\">model</th><th scope=\"col\"><span class=\"hidden\">an image</span></th>\
                 <th scope=\"col\">Picard\u{2019}s error</th><th scope=\"col\">Anderson\u{2019}s error</th>{targets}</tr>\
                 </thead>\n<tbody>\n{}</tbody>",
                self.figure4_rows()?
            ),
        );
        let [factor, how] = self.factor_sentences()?;
        let body = format!(
            "{}{}<div class=\"prices\" style=\"--columns:{columns};--shape:{}/{}\">{table}</div>\n\
             <p class=\"caption\">Errors at the chosen count; then iterations to reach an error, Picard / Anderson.</p>\n\
             <p><strong>{}</strong> {}</p>\n",
            wide("Reconstruction error against iterations", &svg),
            slider("figure4-iterations", &figure.counts),
            shape[2],
            shape[1],
            escape(&factor),
            escape(&how),
        );
        Some(section("figure4", "Figure 4: error against iterations", &body, &self.figure4_caption()?))
    }

    /// One row a network, both solvers in it.
    fn figure4_rows(&self) -> Option<String> {
        let curves = &self.figure4.as_ref()?.curves;
        let shown = |model: &str| self.figure3.as_ref()?.networks.iter().position(|network| network.model == model);
        let row = |pair: &[Curve]| {
            let first = &pair[0];
            let image = shown(&first.model).map(|i| picture(&format!("sprite-{i} moving"), 0)).unwrap_or_default();
            let at =
                |curve: &Curve| format!("<td data-errors=\"{}\">{}</td>", errors(&curve.errors), last(&curve.errors));
            let price = |target: usize| {
                let of = |curve: &Curve| curve.evaluations[target].map_or("\u{2014}".into(), |n| n.to_string());
                format!("<td>{}</td>", pair.iter().map(of).collect::<Vec<String>>().join(" / "))
            };
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"picture\">{image}</td>{}{}</tr>\n",
                escape(&first.model),
                pair.iter().map(at).collect::<String>(),
                (0..TARGETS.len()).map(price).collect::<String>()
            )
        };
        Some(curves.chunk_by(|a, b| a.model == b.model).map(row).collect())
    }

    fn timing_section(&self) -> Option<String> {
        Some(section("timing", "Time", &self.times()?.html("Times"), &self.timing_caption()?))
    }
}

impl Table {
    fn html(&self, label: &str) -> String {
        let class = |i: usize| match self.headings[i].as_str() {
            head if head.starts_with("paper's") => " class=\"paper\"",
            "outcomes" => " class=\"words\"",
            _ => "",
        };
        let head = |(i, head): (usize, &String)| format!("<th scope=\"col\"{}>{}</th>", class(i), escape(head));
        let heads: String = self.headings.iter().enumerate().map(head).collect();
        let cell = |(i, cell): (usize, &String)| match i {
            0 => format!("<th scope=\"row\">{}</th>", escape(cell)),
            _ => format!("<td{}>{}</td>", class(i), escape(cell)),
        };
        let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>());
        let rows: String = self.rows.iter().map(row).collect();
        scrolling(label, &format!("<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>"))
    }
}

fn section(id: &str, title: &str, body: &str, caption: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{}</h2>\n{body}\
         <p class=\"caption\">{}</p>\n</section>\n",
        escape(title),
        escape(caption)
    )
}

/// A table that scrolls by itself where the page is narrow.
fn scrolling(label: &str, table: &str) -> String {
    format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table>\n{table}</table></div>\n",
        escape(label)
    )
}

/// A drawing that scrolls by itself where the page is too narrow to read it.
fn wide(label: &str, svg: &str) -> String {
    format!("<div class=\"wide drawing\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">{svg}</div>\n", escape(label))
}

/// A range over the places in `counts`, set to the last one.
fn slider(id: &str, counts: &[usize]) -> String {
    let last = counts.last().copied().unwrap_or(0);
    let list: Vec<String> = counts.iter().map(usize::to_string).collect();
    format!(
        "<div class=\"slider\"><label for=\"{id}\">Iterations a block</label>\
         <input type=\"range\" id=\"{id}\" min=\"0\" max=\"{max}\" step=\"1\" value=\"{max}\" autocomplete=\"off\" \
         aria-valuetext=\"{last}\" data-counts=\"{}\"><output for=\"{id}\">{last}</output>\
         <button type=\"button\">Play</button></div>\n",
        list.join(" "),
        max = counts.len().saturating_sub(1),
    )
}

/// One image of a sprite; `moving` ones follow the sliders.
fn picture(class: &str, column: usize) -> String {
    format!("<i class=\"{class}\" style=\"--at:{column}\"></i>")
}

fn errors(errors: &[Measure]) -> String {
    errors.iter().map(|error| error.scientific()).collect::<Vec<_>>().join(" ")
}

fn last(errors: &[Measure]) -> String {
    errors.last().map_or_else(String::new, |error| error.scientific())
}

/// One sprite a network, its rows the counts; one for the images themselves.
fn sprite_rules(figure: &Figure3) -> String {
    let rule = |class: &str, rows: &[Vec<u8>]| {
        format!(".{class} {{ background-image: url({}); --rows: {}; }}\n", data_uri(&figure.sprite(rows)), rows.len())
    };
    let networks = figure.networks.iter().enumerate().map(|(i, n)| rule(&format!("sprite-{i}"), &n.pixels));
    networks.chain([rule("originals", &figure.originals)]).collect()
}
