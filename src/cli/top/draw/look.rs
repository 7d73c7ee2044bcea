//! How things look: what a colour or a weight of writing stands for.
//!
//! No colour says anything that a word or a mark beside it does not say as well.

use crate::cli::table::Paint;
use ratatui::style::{Color, Modifier, Style};

/// Styles for a terminal with or without colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look(pub(super) Paint);

impl Look {
    fn coloured(self, colour: Color) -> Style {
        match self.0 {
            Paint::Plain => Style::new(),
            Paint::Coloured => Style::new().fg(colour),
        }
    }

    /// A state's word, of a backend or a shard.
    pub(super) fn state(self, word: &str) -> Style {
        match word {
            "up" | "serving" => self.coloured(Color::Green),
            "down" | "ejected" | "ended" | "stalled" => self.bad(),
            "draining" | "maintenance" | "trial" | "unchecked" => self.coloured(Color::Yellow),
            _ => Style::new(),
        }
    }

    /// What somebody should look at.
    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What went well.
    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// What must be seen.
    pub(super) fn alarm(self) -> Style {
        self.bad().add_modifier(Modifier::REVERSED)
    }

    /// A share of errors.
    pub(super) fn errors(self, share: f64) -> Style {
        if share > 0.0 { self.bad() } else { Style::new() }
    }

    /// Lines of the past and bars.
    pub(super) fn picture(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// A step of the shades, of so many.
    pub(super) fn shade(self, step: usize) -> Style {
        const STEPS: [Color; 5] = [Color::Blue, Color::Cyan, Color::Green, Color::Yellow, Color::Red];
        self.coloured(STEPS[step.min(STEPS.len() - 1)])
    }

    /// What stands around.
    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Names of pools, keys.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Who is selected.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
