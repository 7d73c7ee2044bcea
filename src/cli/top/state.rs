//! What `weir top` shows and what is being done in it: the picture, the page, who is selected, the dialog.
//!
//! Keys and news change it; it says what is to be done outside. Pure: the terminal, the connection and the
//! clock are the loop's (`run`), how it looks is `draw`'s.

use super::change::{Change, Outcome, Verb};
use super::feed::News;
use super::picture::Picture;
use crate::admin::live::model::LiveBackend;
use crate::cli::table::Paint;
use crate::time::{Instant, Micros};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// How far the keys for a page of rows go.
const LEAP: isize = 10;

/// What fills the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Backends,
    Latency,
    Shards,
    Transitions,
}

impl Page {
    pub(super) const ALL: [Self; 4] = [Self::Backends, Self::Latency, Self::Shards, Self::Transitions];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Backends => "backends",
            Self::Latency => "latency",
            Self::Shards => "shards",
            Self::Transitions => "transitions",
        }
    }
}

/// Whether weir tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// It was asked and has not told anything yet.
    Waiting,
    Following,
    /// It does not, why, and when it is asked again.
    Lost(String, Instant),
}

/// What lies over the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialog {
    Closed,
    Help,
    /// A weight for a backend is being typed; beside it the one that it has.
    Weighing {
        pool: String,
        backend: String,
        typed: String,
        has: u16,
    },
    /// weir is asked what it would come to.
    Asking(Change),
    /// What it would come to; now it is the operator's turn.
    Confirm(Change, String),
    /// It is being done.
    Doing(Change),
}

/// What the last thing that was done came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) good: bool,
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    Quit,
    /// Ask for this change; or what it would come to.
    Ask {
        change: Change,
        dry_run: bool,
    },
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Where weir is asked.
    pub(super) admin: String,
    pub(super) paint: Paint,
    picture: Picture,
    /// What stays shown while paused.
    frozen: Option<Picture>,
    pub(super) link: Link,
    /// When weir told last what holds.
    pub(super) heard: Instant,
    pub(super) page: Page,
    /// Pool and name of who is selected, and the place where that was.
    selected: Option<(String, String)>,
    place: usize,
    /// The row that is looked at on the pages of shards and transitions.
    pub(super) row: usize,
    /// The place of the phase that is drawn, if one was chosen.
    phase: Option<usize>,
    pub(super) dialog: Dialog,
    pub(super) notice: Option<Notice>,
}

impl State {
    /// Nothing is known yet.
    pub(super) fn new(admin: String, paint: Paint) -> Self {
        Self {
            admin,
            paint,
            picture: Picture::default(),
            frozen: None,
            link: Link::Waiting,
            heard: Instant::default(),
            page: Page::Backends,
            selected: None,
            place: 0,
            row: 0,
            phase: None,
            dialog: Dialog::Closed,
            notice: None,
        }
    }

    /// What is shown.
    pub(super) fn picture(&self) -> &Picture {
        self.frozen.as_ref().unwrap_or(&self.picture)
    }

    /// Whether it stands still.
    pub(super) fn paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// The place of who is selected among all backends.
    pub(super) fn selected_place(&self) -> usize {
        let is = |(pool, name): &(String, String)| {
            self.picture().backends().position(|(of, backend)| of.name == *pool && backend.name == *name)
        };
        let last = self.picture().backends().count().saturating_sub(1);
        self.selected.as_ref().and_then(is).unwrap_or(self.place).min(last)
    }

    /// Who is selected: the pool's name and the backend.
    pub(super) fn selected(&self) -> Option<(&str, &LiveBackend)> {
        let (pool, backend) = self.picture().backends().nth(self.selected_place())?;
        Some((&pool.name, backend))
    }

    /// Takes in what weir has told.
    pub(super) fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::Lost(why, pause) => {
                let pause = Micros::from_us(pause.as_micros().try_into().unwrap_or(u64::MAX));
                self.link = Link::Lost(why, now.deadline(pause));
            }
            // A history alone is not yet what holds now.
            News::History(_) | News::Slot(_) => self.picture.hear(news),
            News::Live(_) => {
                (self.link, self.heard) = (Link::Following, now);
                self.picture.hear(news);
            }
        }
    }

    /// Takes in what came of a change.
    pub(super) fn learn(&mut self, outcome: Outcome) {
        let Outcome { change, dry_run, told } = outcome;
        let awaited = match &self.dialog {
            Dialog::Asking(asked) => dry_run && *asked == change,
            Dialog::Doing(asked) => !dry_run && *asked == change,
            Dialog::Closed | Dialog::Help | Dialog::Weighing { .. } | Dialog::Confirm(..) => false,
        };
        match (dry_run, told) {
            (true, Ok(told)) if awaited => self.dialog = Dialog::Confirm(change, told),
            // Left meanwhile: nobody wants to know any more what it would come to.
            (true, _) if !awaited => {}
            (_, told) => {
                let good = told.is_ok();
                let text = told.unwrap_or_else(|why| why);
                let text = text.lines().collect::<Vec<_>>().join("; ");
                self.notice = Some(Notice { text, good });
                if awaited {
                    self.dialog = Dialog::Closed;
                }
            }
        }
    }

    /// Does what a key says.
    pub(super) fn press(&mut self, key: KeyEvent) -> Act {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Act::Quit;
        }
        self.notice = None;
        match std::mem::replace(&mut self.dialog, Dialog::Closed) {
            Dialog::Closed => self.press_on_page(key.code),
            Dialog::Help => Act::Nothing,
            Dialog::Weighing { pool, backend, typed, has } => {
                self.press_on_weight(key.code, pool, backend, typed, has)
            }
            Dialog::Confirm(change, told) => match key.code {
                KeyCode::Char('y' | 'Y') => {
                    self.dialog = Dialog::Doing(change.clone());
                    Act::Ask { change, dry_run: false }
                }
                KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Act::Nothing,
                _ => {
                    self.dialog = Dialog::Confirm(change, told);
                    Act::Nothing
                }
            },
            waiting @ (Dialog::Asking(_) | Dialog::Doing(_)) => {
                if !matches!(key.code, KeyCode::Char('n' | 'q') | KeyCode::Esc) {
                    self.dialog = waiting;
                }
                Act::Nothing
            }
        }
    }

    fn press_on_page(&mut self, key: KeyCode) -> Act {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Act::Quit,
            KeyCode::Char('?' | 'h') => self.dialog = Dialog::Help,
            KeyCode::Char('p' | ' ') => {
                self.frozen = if self.paused() { None } else { Some(self.picture.clone()) };
            }
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(Page::ALL.len() - 1),
            KeyCode::Char(number @ '1'..='4') => self.turn_to(Page::ALL[number as usize - '1' as usize]),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::PageDown => self.go(LEAP),
            KeyCode::PageUp => self.go(-LEAP),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            KeyCode::Right | KeyCode::Char('l') => self.turn_phase(1),
            KeyCode::Left => self.turn_phase(-1),
            KeyCode::Char('d') => return self.propose(Verb::Drain),
            KeyCode::Char('r') => return self.propose(Verb::Ready),
            KeyCode::Char('m') => return self.propose(Verb::Maintenance),
            KeyCode::Char('w') => self.weigh(),
            _ => {}
        }
        Act::Nothing
    }

    fn press_on_weight(
        &mut self,
        key: KeyCode,
        pool: String,
        backend: String,
        mut typed: String,
        has: u16,
    ) -> Act {
        match key {
            KeyCode::Esc => return Act::Nothing,
            KeyCode::Enter => match typed.parse() {
                Ok(weight @ 1..=256) => {
                    return self.ask(Change { pool, backend, verb: Verb::Weight(weight) });
                }
                Ok(_) | Err(_) => self.warn("a weight is a number from 1 to 256"),
            },
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Char(digit @ '0'..='9') if typed.len() < 3 => typed.push(digit),
            _ => {}
        }
        self.dialog = Dialog::Weighing { pool, backend, typed, has };
        Act::Nothing
    }

    fn turn(&mut self, by: usize) {
        let place = Page::ALL.iter().position(|page| *page == self.page).unwrap_or(0);
        self.turn_to(Page::ALL[(place + by) % Page::ALL.len()]);
    }

    fn turn_to(&mut self, page: Page) {
        self.page = page;
        self.row = 0;
    }

    /// The place of the phase that is drawn: at first the one that clients notice.
    pub(super) fn phase_place(&self) -> usize {
        let phases = self.picture().live.as_ref().map_or(&[][..], |live| &live.phases);
        let whole = || phases.iter().position(|phase| phase.phase == "whole");
        self.phase.or_else(whole).unwrap_or(0).min(phases.len().saturating_sub(1))
    }

    fn turn_phase(&mut self, by: isize) {
        let phases = self.picture().live.as_ref().map_or(0, |live| live.phases.len());
        if phases > 0 {
            self.phase = Some((self.phase_place() + phases).saturating_add_signed(by) % phases);
        }
    }

    /// Selects another row, or moves the page.
    fn go(&mut self, by: isize) {
        let live = self.picture().live.as_ref();
        let rows = match self.page {
            Page::Backends => self.picture().backends().count(),
            Page::Latency => 1,
            Page::Shards => live.map_or(0, |live| live.shards.len()),
            Page::Transitions => live.map_or(0, |live| live.transitions.len()),
        };
        let last = rows.saturating_sub(1);
        if self.page != Page::Backends {
            self.row = self.row.saturating_add_signed(by).min(last);
            return;
        }
        self.place = self.selected_place().saturating_add_signed(by).min(last);
        let named = self.picture().backends().nth(self.place);
        self.selected = named.map(|(pool, backend)| (pool.name.clone(), backend.name.clone()));
    }

    fn warn(&mut self, text: &str) {
        self.notice = Some(Notice { text: text.to_owned(), good: false });
    }

    /// Who a change is for: who is selected, and seen to be.
    fn chosen(&mut self) -> Option<(String, String, u16)> {
        if self.page != Page::Backends {
            self.warn("choose a backend first, on the first page");
            return None;
        }
        let chosen =
            self.selected().map(|(pool, backend)| (pool.to_owned(), backend.name.clone(), backend.weight));
        if let Some((pool, backend, _)) = &chosen {
            // From here on it is meant by its name.
            self.selected = Some((pool.clone(), backend.clone()));
        } else {
            self.warn("there is no backend");
        }
        chosen
    }

    fn propose(&mut self, verb: Verb) -> Act {
        let Some((pool, backend, _)) = self.chosen() else { return Act::Nothing };
        self.ask(Change { pool, backend, verb })
    }

    fn weigh(&mut self) {
        if let Some((pool, backend, has)) = self.chosen() {
            self.dialog = Dialog::Weighing { pool, backend, typed: String::new(), has };
        }
    }

    fn ask(&mut self, change: Change) -> Act {
        self.dialog = Dialog::Asking(change.clone());
        Act::Ask { change, dry_run: true }
    }
}
