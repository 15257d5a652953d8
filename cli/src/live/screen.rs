//! The terminal while the live view has it: given back as it was at every end, also by a panic.

use super::draw::draw;
use super::state::LiveState;
use ratatui::DefaultTerminal;
use std::io;

/// A terminal in raw mode with its other screen shown.
#[derive(Debug)]
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal behind standard output. A panic gives it back before it speaks.
    pub fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| give_back())
    }

    /// Draws what changed, at the size that the terminal has now.
    pub fn draw(&mut self, state: &LiveState) -> io::Result<()> {
        self.0.draw(|frame| {
            let area = frame.area();
            draw(frame.buffer_mut(), area, state);
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// When even this fails there is no terminal any more.
fn give_back() {
    let _ = ratatui::try_restore();
}
