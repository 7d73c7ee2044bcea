//! The terminal: taken over, drawn in, given back on every way out, and its keys.

use super::draw;
use super::state::State;
use crate::sys::clock;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::io::{self, Stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::sync::mpsc::{Receiver, channel};

/// Keys that were pressed and not looked at yet; further ones wait in the terminal.
const KEYS_MAX: usize = 16;

/// The terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that is drawn in. Given back when dropped.
pub(super) struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn open() -> io::Result<Self> {
        // What a panic says is to be read afterwards, so the terminal is given back before.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |told| {
            give_back();
            before(told);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        let taken = enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All)))
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match taken {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, state: &State) -> io::Result<()> {
        let now = clock::now();
        self.0.draw(|frame| draw::draw(state, now, frame.area(), frame.buffer_mut())).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Ends what [`Screen::open`] began, once: leaving the screen a second time would put the cursor into what a
/// panic has written. The terminal may be gone, and then nothing is lost.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// What comes from the terminal: keys, and that its size has changed. Reading one blocks, so a thread does; it
/// ends with the process.
///
/// # Errors
/// There is no thread for it.
pub(super) fn events() -> io::Result<Receiver<Event>> {
    let (tell, told) = channel(KEYS_MAX);
    let read = move || {
        while let Ok(event) = event::read() {
            if tell.blocking_send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("weir-keys".to_owned()).spawn(read)?;
    Ok(told)
}
