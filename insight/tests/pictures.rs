//! That pictures say what they have to without colours and without fonts of the machine.
#![cfg(feature = "pictures")]

use cloudsnooze_insight::lifetimes::{Observed, Survival};
use cloudsnooze_insight::pictures::{
    Curves, Doing, Gantt, HeatCell, HeatMap, Picture, Reliability, ReliabilityBin, Row, SIZE, Span, png, svg,
};

fn curves(count: u32) -> Curves {
    let observed =
        |shift: f64| (1..=20).map(move |at| Observed { hours: f64::from(at) + shift, interrupted: at % 3 != 0 });
    let curves: Vec<Survival> =
        (0..count).map(|at| Survival::of(observed(f64::from(at) / 3.0)).expect("a curve")).collect();
    let named: Vec<(&str, &Survival)> = ["one", "two", "three", "four"].into_iter().zip(&curves).collect();
    Curves::survival("How long machines live", &named)
}

fn heat(value: Option<f64>) -> HeatMap {
    let cell = HeatCell { value, is_unsure: false };
    let names = |count: u8| (0..count).map(|at| at.to_string()).collect::<Vec<String>>();
    HeatMap {
        title: "Hours".to_owned(),
        note: "717 interruptions".to_owned(),
        columns: ("hour of the day, UTC".to_owned(), names(4)),
        rows: ("weekday".to_owned(), names(2)),
        what: "seen / expected".to_owned(),
        cells: vec![
            vec![
                cell,
                HeatCell { value: Some(0.2), is_unsure: true },
                cell,
                HeatCell { value: Some(1.0), is_unsure: false }
            ];
            2
        ],
    }
}

fn gantt() -> Gantt {
    let all = [Doing::Spot, Doing::OnDemand, Doing::Changeover, Doing::Lost, Doing::Idle];
    let span = |(at, doing): (usize, Doing)| Span { from_h: at as f64, to_h: at as f64 + 1.0, doing };
    let spans = all.into_iter().enumerate().map(span).collect();
    Gantt {
        title: "A run".to_owned(),
        note: "48 h of work".to_owned(),
        rows: vec![Row { name: "policy".to_owned(), spans, remark: "cost 3".to_owned() }],
        deadline_h: Some(6.0),
    }
}

fn reliability(came_true: u64) -> Reliability {
    let bins = vec![
        ReliabilityBin { predicted: 0.1, count: 50, came_true },
        ReliabilityBin { predicted: 0.3, count: 20, came_true: 7 },
    ];
    Reliability {
        title: "Calibration".to_owned(),
        what: "interrupted within 1 h".to_owned(),
        note: "Held out.".to_owned(),
        bins,
    }
}

/// The brightness of each pixel, as a grey print has it, by rows.
fn grey(picture: &impl Picture) -> Vec<Vec<u8>> {
    let bytes = png(picture, SIZE).expect("drawn");
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("a picture");
    assert_eq!((info.width, info.height), SIZE);
    let brightness =
        |rgb: &[u8]| (0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2])).round() as u8;
    pixels.chunks(3 * SIZE.0 as usize).map(|row| row.chunks(3).map(brightness).collect()).collect()
}

fn dark(rows: &[Vec<u8>], x: std::ops::Range<usize>, y: std::ops::Range<usize>) -> usize {
    rows[y].iter().flat_map(|row| &row[x.clone()]).filter(|brightness| **brightness < 128).count()
}

#[test]
fn every_picture_names_its_axes_units_uncertainty_and_how_many_data() {
    let texts = [
        (
            svg(&curves(2), SIZE),
            vec!["age, hours", "share of machines still there", "40 machines", "95 %", "one", "two"],
        ),
        (
            svg(&heat(Some(0.7)), SIZE),
            vec!["hour of the day, UTC", "weekday", "seen / expected", "few data", "717 interruptions"],
        ),
        (
            svg(&gantt(), SIZE),
            vec![
                "since the start, hours",
                "spot",
                "on demand",
                "work lost",
                "idle",
                "changeover",
                "deadline",
                "cost 3",
            ],
        ),
        (
            svg(&reliability(4), SIZE),
            vec!["predicted probability", "share that was", "95 %", "70 predictions", ">50", ">20"],
        ),
    ];
    for (svg, wanted) in texts {
        let svg = svg.expect("drawn");
        // Text of a tag begins on a line of its own.
        let svg = svg.replace(">\n", ">");
        for text in wanted {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}

#[test]
fn letters_are_there_without_any_font_of_the_machine() {
    // The title stands at the top left, the note at the bottom.
    let rows = grey(&curves(1));
    assert!(dark(&rows, 10..300, 5..30) > 250, "title: {}", dark(&rows, 10..300, 5..30));
    assert!(dark(&rows, 10..700, 460..500) > 250, "note: {}", dark(&rows, 10..700, 460..500));
    let untitled = grey(&Curves { title: String::new(), ..curves(1) });
    assert_eq!(dark(&untitled, 10..300, 5..30), 0);
}

#[test]
fn what_was_done_is_told_apart_in_grey() {
    let rows = grey(&gantt());
    let y = rows.len() / 2;
    // From the left axis to the right end of the fifth span: five looks, by their mean brightness and how much it varies.
    let left = rows[y].iter().position(|brightness| *brightness < 200).expect("an axis");
    let svg = svg(&gantt(), SIZE).expect("drawn");
    let ends: Vec<usize> = svg
        .lines()
        .filter(|line| line.starts_with("<rect") && line.contains("fill=\"none\""))
        .filter_map(|line| line.split("x=\"").nth(1)?.split('"').next()?.parse().ok())
        .collect();
    // The first five are the samples in the legend.
    assert_eq!(ends.len(), 10, "{ends:?} from {left}");
    let look = |x: usize| {
        let patch: Vec<f64> = (y - 20..y + 20)
            .flat_map(|y| (x + 6..x + 60).map(move |x| (x, y)))
            .map(|(x, y)| f64::from(rows[y][x]))
            .collect();
        let mean = patch.iter().sum::<f64>() / patch.len() as f64;
        let spread = (patch.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / patch.len() as f64).sqrt();
        (mean, spread)
    };
    let looks: Vec<(f64, f64)> = ends.into_iter().skip(5).map(look).collect();
    for (at, a) in looks.iter().enumerate() {
        for b in &looks[at + 1..] {
            assert!((a.0 - b.0).abs() > 25.0 || (a.1 - b.1).abs() > 15.0, "{looks:?}");
        }
    }
}

#[test]
fn what_cannot_be_drawn_is_told() {
    assert!(svg(&curves(4), SIZE).is_err() && svg(&curves(0), SIZE).is_err());
    assert!(svg(&heat(Some(f64::NAN)), SIZE).is_err());
    assert!(svg(&reliability(51), SIZE).is_err());
    assert!(svg(&Gantt { rows: Vec::new(), ..gantt() }, SIZE).is_err());
    for size in [(0, 0), (100, 500), (800, 100_000)] {
        assert!(svg(&gantt(), size).is_err() && png(&gantt(), size).is_err());
    }
    assert!(svg(&heat(None), SIZE).is_ok() && png(&gantt(), (200, 200)).is_ok());
}

#[test]
fn the_same_values_give_the_same_picture() {
    assert_eq!(svg(&curves(3), SIZE), svg(&curves(3), SIZE));
    assert_eq!(png(&gantt(), SIZE), png(&gantt(), SIZE));
}
