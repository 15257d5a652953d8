//! Tickets as QR codes, two modules per character.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code (ISO/IEC 18004: four).
const QUIET: usize = 4;
/// What still reads well where the screen has no room for more.
const QUIET_LEAST: usize = 2;

/// How a code is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Drawing {
    /// Columns of the terminal.
    pub columns: usize,
    /// Rows of the terminal.
    pub rows: usize,
    /// With colours the code is black on white on every terminal; without them light modules are
    /// drawn as blocks, which is right on a dark background (and inverted, which most readers
    /// accept, on a light one).
    pub colours: bool,
}

/// The code of a ticket, in upper case so that the short alphanumeric mode applies; `None` when it
/// does not fit.
pub fn qr(ticket: &str, drawing: Drawing) -> Option<String> {
    qr_exact(&ticket.to_uppercase(), drawing)
}

/// The code of a text whose case matters; `None` when it does not fit.
pub fn qr_exact(text: &str, drawing: Drawing) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let modules = code.width();
    let rows = |quiet: usize| (modules + 2 * quiet).div_ceil(2);
    // One row is left for the prompt.
    let quiet = if rows(QUIET) < drawing.rows {
        QUIET
    } else {
        QUIET_LEAST
    };
    let side = modules + 2 * quiet;
    if side > drawing.columns {
        return None;
    }
    let colours = code.to_colors();
    let dark = |x: usize, y: usize| {
        let inside = (quiet..quiet + modules).contains(&x) && (quiet..quiet + modules).contains(&y);
        inside && colours[(y - quiet) * modules + (x - quiet)] == Color::Dark
    };
    let lines = (0..side).step_by(2).map(|y| {
        // Below an odd number of rows: the terminal's own background.
        let below = |x: usize| y + 1 >= side || dark(x, y + 1);
        let blocks: String = (0..side).map(|x| block(dark(x, y), below(x))).collect();
        // 16 and 231: the fixed black and white of the 256-colour palette, which themes leave
        // alone.
        match (drawing.colours, y + 1 < side) {
            (true, true) => format!("\u{1b}[38;5;231;48;5;16m{blocks}\u{1b}[0m"),
            (true, false) => format!("\u{1b}[38;5;231m{blocks}\u{1b}[0m"),
            (false, _) => blocks,
        }
    });
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// One character for two modules, one above the other: what is light is drawn, what is dark is left
/// out.
const fn block(upper_dark: bool, lower_dark: bool) -> char {
    match (upper_dark, lower_dark) {
        (true, true) => ' ',
        (true, false) => '▄',
        (false, true) => '▀',
        (false, false) => '█',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWING: Drawing = Drawing {
        columns: 80,
        rows: 50,
        colours: false,
    };

    /// What a camera would see, ten pixels per module.
    fn read(drawn: &str) -> String {
        const SCALE: usize = 10;
        let rows: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
        let (width, height) = (rows[0].len() * SCALE, rows.len() * 2 * SCALE);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            let character = rows[y / (2 * SCALE)][x / SCALE];
            let upper = (y / SCALE).is_multiple_of(2);
            let light = matches!((character, upper), ('█', _) | ('▀', true) | ('▄', false));
            if light { 255 } else { 0 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn what_is_drawn_reads_as_the_ticket() {
        let ticket = format!("hither1{}", "qpzry9x8gf2tvdw0s3jn54khce6mua7l".repeat(4));
        let drawn = qr(&ticket, DRAWING).unwrap();
        assert_eq!(read(&drawn), ticket.to_uppercase());
        let low = qr(
            &ticket,
            Drawing {
                rows: 20,
                ..DRAWING
            },
        )
        .unwrap();
        assert!(low.lines().count() < drawn.lines().count());
        assert_eq!(read(&low), ticket.to_uppercase());
    }

    #[test]
    fn a_code_that_does_not_fit_is_not_drawn() {
        assert!(
            qr(
                &"A".repeat(140),
                Drawing {
                    columns: 30,
                    ..DRAWING
                }
            )
            .is_none()
        );
        assert!(qr(&"A".repeat(5000), DRAWING).is_none());
    }

    #[test]
    fn colours_frame_every_line() {
        let drawn = qr(
            "HITHER1",
            Drawing {
                colours: true,
                ..DRAWING
            },
        )
        .unwrap();
        assert!(
            drawn
                .lines()
                .all(|line| line.starts_with("\u{1b}[38;5;231") && line.ends_with("\u{1b}[0m"))
        );
    }
}
