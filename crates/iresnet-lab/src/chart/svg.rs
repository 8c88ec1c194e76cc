//! The picture of a chart.

use std::fmt::Write;

use super::colour::{COLOURS, Colour};
use super::plot::{Chart, LEGEND, LEGEND_SIDES, Series, Stroke};
use super::ticks::labelled;
use crate::markup::escape;

impl Chart {
    /// The SVG element for a file of its own: dark on white, in plain colours, which viewers without CSS know too.
    pub fn file(&self) -> String {
        let mut svg = self.svg().replace("currentColor", "#1d1f22");
        for (i, colour) in COLOURS.iter().enumerate() {
            svg = svg.replace(&format!("var(--series-{i}, {colour})"), colour);
        }
        let end = svg.find('>').expect("an element begins") + 1;
        svg.insert_str(end, "\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>");
        svg
    }

    /// The SVG element for a page.
    pub fn svg(&self) -> String {
        let (width, height) = self.size;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{}\" font-family=\"system-ui, sans-serif\" \
             font-size=\"13\" fill=\"currentColor\">\n",
            escape(&self.title)
        );
        self.axes(&mut svg);
        for series in &self.series {
            self.series(series, &mut svg);
        }
        self.legend(&mut svg);
        svg + "</svg>\n"
    }

    fn axes(&self, svg: &mut String) {
        let (left, top, right, bottom) = self.plot_area();
        for (y, text) in labelled(self.y, self.log_y) {
            let (_, at) = self.at((self.x.0, y));
            _ = writeln!(
                svg,
                "<path d=\"M{left:.1} {at:.1}H{right:.1}\" stroke=\"currentColor\" stroke-opacity=\".15\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                left - 8.0,
                at + 4.5
            );
        }
        for (x, text) in labelled(self.x, false) {
            let (at, _) = self.at((x, self.y.0));
            _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {bottom:.1}v5\" stroke=\"currentColor\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 19.0
            );
        }
        if let Some(rule) = self.rule {
            let (_, at) = self.at((self.x.0, rule));
            _ = writeln!(svg, "<path d=\"M{left:.1} {at:.1}H{right:.1}\" stroke=\"currentColor\"/>");
        }
        _ = writeln!(
            svg,
            "<path d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\" fill=\"none\" stroke=\"currentColor\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(15 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            bottom + 39.0,
            escape(&self.x_label),
            (top + bottom) / 2.0,
            escape(&self.y_label)
        );
    }

    fn series(&self, series: &Series, svg: &mut String) {
        let inside = series.points.iter().filter(|(x, _)| (self.x.0..=self.x.1).contains(x));
        let points: Vec<(f64, f64)> = inside.map(|point| self.at(*point)).collect();
        let colour = series.colour.css();
        if series.stroke != Stroke::Absent {
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let dashed = series.stroke == Stroke::Dashed;
            let dashes = if dashed { " stroke-dasharray=\"5 4\" stroke-opacity=\".7\"" } else { "" };
            _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" style=\"stroke:{colour}\" stroke-width=\"1.8\"{dashes}/>",
                path.join(" ")
            );
        }
        if series.marks_every > 0 {
            *svg += &marks(series.colour, points.iter().step_by(series.marks_every));
        }
    }

    fn legend(&self, svg: &mut String) {
        let (columns, width) = self.legend_columns();
        for (i, series) in self.labelled().enumerate() {
            let (x, y) = (LEGEND_SIDES.0 + (i % columns) as f64 * width, 15.0 + LEGEND.0 * (i / columns) as f64);
            let colour = series.colour.css();
            if series.stroke != Stroke::Absent {
                _ = writeln!(svg, "<path d=\"M{x:.1} {y}h18\" style=\"stroke:{colour}\" stroke-width=\"2.4\"/>");
            }
            if series.marks_every > 0 {
                *svg += &marks(series.colour, [(x + 9.0, y)].iter());
            }
            _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 23.0, y + 4.5, escape(&series.label));
        }
    }
}

/// Marks at all of `points`, of another shape for each colour.
fn marks<'a>(colour: Colour, points: impl Iterator<Item = &'a (f64, f64)>) -> String {
    let number = match colour {
        Colour::Number(i) => i % COLOURS.len(),
        Colour::Between(_) => 0,
    };
    let shape = [
        "m-4-4h8v8h-8z",
        "m0-5 5 5-5 5-5-5z",
        "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        "m0-5 5 8.5h-10z",
        "m0 5 5-8.5h-10z",
        "m-4 0h8m-4-4v8",
    ][number];
    let path: String = points.map(|(x, y)| format!("M{x:.1} {y:.1}{shape}")).collect();
    let colour = colour.css();
    // The last shape is nothing but its lines.
    let width = if number == 5 { 2.0 } else { 1.2 };
    format!(
        "<path class=\"marks\" d=\"{path}\" style=\"fill:{colour};stroke:{colour}\" opacity=\".85\" \
         stroke-width=\"{width}\"/>\n"
    )
}

#[cfg(test)]
mod tests {
    use crate::chart::plot::tests::chart;

    #[test]
    fn lines_end_where_the_axes_do() {
        let svg = chart(true).svg();
        assert!(svg.contains("points=\"62.0,144.0 384.0,254.0\""), "{svg}");
        assert!(svg.contains("aria-label=\"a &lt; b\""));
    }

    #[test]
    fn a_file_has_plain_colours() {
        let mut chart = chart(true);
        chart.series = vec![chart.series.remove(0); 4];
        let svg = chart.svg();
        assert_eq!(svg.matches("class=\"marks\"").count(), 8, "{svg}");
        let file = chart.file();
        assert!(svg.contains("currentColor") && svg.contains("var(--series-1, #0072b2)"), "{svg}");
        assert!(["currentColor", "var(", "color-mix"].iter().all(|css| !file.contains(css)), "{file}");
        assert!(file.contains("style=\"stroke:#0072b2\""), "{file}");
    }
}
