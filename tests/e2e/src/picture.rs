//! Reads the picture in a report's page back: what is drawn where.
//! Inputs: the page's text. Outputs: scale, rows and bars in units of the picture. Must never use the code that drew it.

/// A bar: where it begins and how wide it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Where it begins.
    pub x: f64,
    /// How wide it is.
    pub width: f64,
}

/// A handler's row.
#[derive(Clone, Debug)]
pub struct Row {
    /// How it ended, by the name of shape and colour.
    pub shape: String,
    /// The name as shown.
    pub name: String,
    /// The time granted.
    pub granted: Option<Bar>,
    /// The time taken.
    pub ran: Option<Bar>,
    /// Every text of the row.
    pub texts: Vec<String>,
}

/// The whole picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Milliseconds and place of every mark on the scale.
    pub ticks: Vec<(f64, f64)>,
    /// Milliseconds that the lanes show.
    pub span_ms: f64,
    /// The rows from the top.
    pub rows: Vec<Row>,
}

/// The picture in a page.
///
/// # Panics
/// When there is none, or a number in it is none.
pub fn read(page: &str) -> Picture {
    let start = page.find("<svg class=\"picture\"").expect("a picture");
    let svg = &page[start..start + page[start..].find("</svg>").expect("its end")];
    let ticks = tags(svg, "line").filter(|tag| has_class(tag, "tick"));
    Picture {
        ticks: ticks.map(|tag| (number(tag, "data-ms"), number(tag, "x1"))).collect(),
        span_ms: number(tags(svg, "svg").next().expect("itself"), "data-span-ms"),
        rows: svg.split("<g ").skip(1).map(row).collect(),
    }
}

fn row(group: &str) -> Row {
    let group = group.split("</g>").next().unwrap_or_default();
    let bar = |class: &str| {
        let tag = tags(group, "rect").find(|tag| has_class(tag, class))?;
        Some(Bar { x: number(tag, "x"), width: number(tag, "width") })
    };
    let texts: Vec<String> = group
        .split("<text ")
        .skip(1)
        .map(|text| {
            let text = text.split_once('>').map_or("", |(_, rest)| rest);
            text.split('<').next().unwrap_or_default().to_owned()
        })
        .collect();
    let class = attribute(group, "class").expect("a class");
    Row {
        shape: class.strip_prefix("row ").expect("a row").to_owned(),
        name: texts.first().cloned().unwrap_or_default(),
        granted: bar("granted"),
        ran: bar("ran"),
        texts,
    }
}

/// What stands in each tag of this name.
fn tags<'t>(text: &'t str, name: &str) -> impl Iterator<Item = &'t str> {
    let start = format!("<{name} ");
    let pieces: Vec<&str> = text.split(&start).skip(1).collect();
    pieces.into_iter().map(|piece| piece.split('>').next().unwrap_or_default())
}

fn has_class(tag: &str, class: &str) -> bool {
    attribute(tag, "class").is_some_and(|classes| classes.split(' ').any(|one| one == class))
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let start = format!("{name}=\"");
    // Not the end of another attribute's name.
    let at = tag.match_indices(&start).find(|(at, _)| *at == 0 || tag[..*at].ends_with(' '))?.0;
    tag[at + start.len()..].split('"').next()
}

fn number(tag: &str, name: &str) -> f64 {
    let text = attribute(tag, name).unwrap_or_else(|| panic!("no {name} in {tag}"));
    text.parse().unwrap_or_else(|_| panic!("{name} is no number in {tag}"))
}
