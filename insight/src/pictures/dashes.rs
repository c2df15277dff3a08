//! Where the dashes of a line lie.
//!
//! Inputs: the corners of a line, in pixels; how long dash and gap are. Outputs: the corners of each dash. Pure. plotters has dashes too,
//! but by `hypot`, which since glibc 2.35 is another symbol than before: the program would not start with an older one.

/// The dashes of a line through these corners; they go on around a corner.
#[allow(clippy::cast_possible_truncation, reason = "places in a picture")]
pub(super) fn pieces(corners: &[(i32, i32)], dash: i32, gap: i32) -> Vec<Vec<(i32, i32)>> {
    let (dash, gap) = (f64::from(dash.max(1)), f64::from(gap.max(1)));
    let mut pieces: Vec<Vec<(i32, i32)>> = Vec::new();
    // What is left of the dash or gap that is being drawn.
    let (mut left, mut is_dash) = (dash, true);
    let mut piece: Vec<(i32, i32)> = corners.first().copied().into_iter().collect();
    for ends in corners.windows(2) {
        let &[from, to] = ends else { continue };
        let (dx, dy) = (f64::from(to.0) - f64::from(from.0), f64::from(to.1) - f64::from(from.1));
        let length = (dx * dx + dy * dy).sqrt();
        let mut at = 0.0;
        while length - at > left {
            at += left;
            let place = (from.0 + (dx * at / length).round() as i32, from.1 + (dy * at / length).round() as i32);
            piece.push(place);
            if is_dash {
                pieces.push(std::mem::take(&mut piece));
            }
            piece = vec![place];
            is_dash = !is_dash;
            left = if is_dash { dash } else { gap };
        }
        left -= length - at;
        piece.push(to);
    }
    if is_dash && piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn dashes_and_gaps_take_turns_and_go_on_around_corners() {
        assert_eq!(pieces(&[(0, 0), (10, 0)], 4, 2), [[(0, 0), (4, 0)], [(6, 0), (10, 0)]]);
        assert_eq!(pieces(&[(0, 0), (3, 0), (3, 3)], 4, 2), [vec![(0, 0), (3, 0), (3, 1)]]);
        assert_eq!(pieces(&[(0, 0), (0, 9)], 4, 2), [[(0, 0), (0, 4)], [(0, 6), (0, 9)]]);
        for short in [&[][..], &[(5, 5)], &[(5, 5), (5, 5)]] {
            assert!(pieces(short, 4, 2).iter().flatten().all(|place| *place == (5, 5)), "{short:?}");
        }
    }
}
