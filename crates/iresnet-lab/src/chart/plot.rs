//! A chart, its series, and where a point lies in the picture.

use super::colour::Colour;

/// Space around the plot: left, top below the legend, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (62.0, 14.0, 16.0, 46.0);
/// Height of a row of the legend, and the least width of an entry.
pub(super) const LEGEND: (f64, f64) = (20.0, 106.0);
/// Where the legend begins and how much it leaves free on the right.
pub(super) const LEGEND_SIDES: (f64, f64) = (14.0, 6.0);
/// Width of a character of the legend, about.
const CHARACTER: f64 = 8.4;

/// How the points of a series are joined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stroke {
    /// By a full line.
    Full,
    /// By dashes.
    Dashed,
    /// Not at all.
    Absent,
}

/// One network's points.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the legend; without one the line has no entry.
    pub label: String,
    /// Its colour.
    pub colour: Colour,
    /// What joins the points.
    pub stroke: Stroke,
    /// Marks at the points, of another shape for each colour: at all of them, at every so many, or at none for 0.
    pub marks_every: usize,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Read out in place of the picture.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis measures.
    pub y_label: String,
    /// Ends of the horizontal axis.
    pub x: (f64, f64),
    /// Ends of the vertical axis.
    pub y: (f64, f64),
    /// Whether the vertical axis is logarithmic.
    pub log_y: bool,
    /// Width and height in pixels.
    pub size: (usize, usize),
    /// The lines.
    pub series: Vec<Series>,
    /// A horizontal line at this height.
    pub rule: Option<f64>,
}

impl Chart {
    /// Pixels of the plot's edges: left, top, right, bottom.
    pub fn plot_area(&self) -> (f64, f64, f64, f64) {
        let labels = self.labelled().count();
        let rows = labels.div_ceil(self.legend_columns().0);
        (MARGIN.0, MARGIN.1 + LEGEND.0 * rows as f64, self.size.0 as f64 - MARGIN.2, self.size.1 as f64 - MARGIN.3)
    }

    /// The series that have an entry in the legend.
    pub(super) fn labelled(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| !series.label.is_empty())
    }

    /// How many entries stand in a row of the legend, and their width.
    pub(super) fn legend_columns(&self) -> (usize, f64) {
        let longest = self.labelled().map(|series| series.label.chars().count()).max().unwrap_or(0);
        let width = LEGEND.1.max(30.0 + CHARACTER * longest as f64);
        let columns = (self.size.0 as f64 - LEGEND_SIDES.0 - LEGEND_SIDES.1) / width;
        ((columns as usize).max(1), width)
    }

    /// Pixels of a point; values beyond the vertical axis lie on its edge.
    pub(super) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (left, top, right, bottom) = self.plot_area();
        let up = |y: f64| if self.log_y { y.log10() } else { y };
        let across = (x - self.x.0) / (self.x.1 - self.x.0);
        let height = (up(y) - up(self.y.0)) / (up(self.y.1) - up(self.y.0));
        (left + across * (right - left), bottom - height.clamp(0.0, 1.0) * (bottom - top))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A chart of one line.
    pub fn chart(log_y: bool) -> Chart {
        Chart {
            title: "a < b".into(),
            x_label: "x".into(),
            y_label: "y".into(),
            x: (0.0, 10.0),
            y: (1e-8, 1.0),
            log_y,
            size: (400, 300),
            series: vec![Series {
                label: "s".into(),
                colour: Colour::Number(1),
                stroke: Stroke::Full,
                marks_every: 1,
                points: vec![(0.0, 1e-4), (10.0, 1e-12), (11.0, 1.0)],
            }],
            rule: None,
        }
    }

    #[test]
    fn points_land_where_the_axes_say() {
        let chart = chart(true);
        let (_, top, _, bottom) = chart.plot_area();
        assert_eq!(chart.at((0.0, 1e-4)), (MARGIN.0, (top + bottom) / 2.0));
        // Values beyond the axis lie on its edge; points right of the plot are left out.
        assert_eq!(chart.at((10.0, 1e-12)), (400.0 - MARGIN.2, bottom));
    }

    #[test]
    fn a_long_legend_takes_more_rows() {
        let with = |label: &str, count: usize| {
            let one = Series { label: label.into(), ..chart(true).series.remove(0) };
            Chart { series: vec![one; count], ..chart(true) }
        };
        let top = |chart: Chart| chart.plot_area().1;
        assert_eq!(top(with("s", 3)), top(with("s", 1)));
        assert_eq!(top(with("s", 4)), top(with("s", 1)) + LEGEND.0);
        assert_eq!(top(with("a label that leaves no room for others", 3)), top(with("s", 1)) + 2.0 * LEGEND.0);
    }
}
