//! Draws what a request costs against how many keys the policy has.

use std::path::Path;

use plotters::prelude::*;

use crate::contender::Contender::{self, Keyfence, Native};
use crate::summary::Summary;

const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// Both axes are logarithmic.
pub fn draw(summary: &Summary, path: &Path) {
    let points = |contender: fn(usize) -> Contender| -> Vec<(f64, f64)> {
        let cost = |keys: &usize| Some((*keys as f64, summary.row("growth", &contender(*keys))?.added.median));
        COUNTS.iter().filter_map(cost).collect()
    };
    let area = SVGBackend::new(path, (720, 400)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption("What the policy adds to a request", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d((1.0..100_000.0).log_scale(), (1.0..1_000.0).log_scale())
        .unwrap();
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("keys in the policy")
        .y_desc("µs of CPU")
        .x_label_formatter(&|keys| format!("{keys:.0}"))
        .y_label_formatter(&|cost| format!("{cost:.0}"))
        .draw()
        .unwrap();
    for (name, points, color) in [
        ("keyfence", points(Keyfence), RGBColor(0, 90, 160)),
        ("cors + api_key_auth + rbac", points(Native), RGBColor(200, 80, 0)),
    ] {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(4))
            .unwrap()
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(TRANSPARENT)
        .background_style(WHITE)
        .draw()
        .unwrap();
    area.present().unwrap();
}
