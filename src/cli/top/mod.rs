//! `weir top`: a running weir in a terminal, live, with keys for what an operator does most.
//!
//! Here: the arguments, the loop that brings keys, news and answers together, the exit code. It reads `/live`
//! and asks for changes as `weir ctl` does, so whoever may use one may use the other.
//!
//! | file | what |
//! |---|---|
//! | `sse`, `feed` | the stream: its events, following it |
//! | `picture` | what is known, now and of the last ten minutes |
//! | `change` | a change, and the requests that it becomes |
//! | `state` | what is shown and done; what keys mean |
//! | `draw` | how that looks, as cells |
//! | `once` | how it looks as plain text |
//! | `screen` | the terminal |

mod change;
mod draw;
mod feed;
mod once;
mod picture;
#[cfg(test)]
mod scene;
mod screen;
mod sse;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::client::{self, Reach};
use super::table::Paint;
use super::{FAILED, WRONG, tell};
use change::{Change, Outcome};
use clap::Args;
use feed::{News, Stream};
use picture::Picture;
use ratatui::crossterm::event::{Event, KeyEventKind};
use screen::Screen;
use state::{Act, State};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval};

/// News and answers that are not looked at yet; what comes beyond waits in its connection.
const WAITING_MAX: usize = 64;

/// How often is drawn when nothing happens: countdowns go on.
const TICK: Duration = Duration::from_secs(1);

pub(super) const HELP: &str = "\
Show a running weir in this terminal, live: every backend with its state, why and since when, in-flight by \
shard, requests and errors, latency now and over the last ten minutes, split by phase; the shards; the last \
transitions. Where weir goes away or is replaced, it is looked for until it is back.

Keys: q quit, arrows or j and k select, Tab or 1 to 4 another page, d drain, r ready, m maintenance, w weight \
of the selected backend (what it would come to is shown first, y does it), p pause, ? help.

80x24 cells show everything; NO_COLOR is heeded. --once prints one picture as text and ends, for scripts and \
for `watch`.

Exit codes: 0 it was left, or has printed, 1 weir refused or broke off, 2 the arguments are wrong or there \
is no terminal, 3 weir's admin surface cannot be reached.";

/// The arguments of `weir top`.
#[derive(Args)]
pub(super) struct Top {
    #[command(flatten)]
    reach: Reach,
    /// Print one picture as text, and end
    #[arg(long)]
    once: bool,
}

/// Does what was asked for; the exit code.
pub(super) fn top(top: Top) -> u8 {
    if !top.once
        && let Err(code) = terminal()
    {
        return code;
    }
    let runtime = match client::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(error);
            return FAILED;
        }
    };
    runtime.block_on(async {
        // Who cannot be reached at all is more likely a wrong address than a weir that will come.
        let shown = match Stream::open(&top.reach).await {
            Ok(stream) if top.once => once(&top.reach, stream).await,
            Ok(stream) => watch(top.reach, stream).await,
            Err(ended) => Err(ended),
        };
        shown.unwrap_or_else(|ended| {
            tell(&ended);
            ended.code()
        })
    })
}

/// Whether there is a terminal to draw in.
fn terminal() -> Result<(), u8> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if io::stdout().is_terminal() && !dumb {
        return Ok(());
    }
    tell(if dumb {
        "this terminal cannot place text (TERM=dumb); `weir top --once` prints one picture as text"
    } else {
        "stdout is no terminal; `weir top --once` prints one picture as text"
    });
    Err(WRONG)
}

/// Prints one picture.
async fn once(reach: &Reach, mut stream: Stream) -> Result<u8, feed::Ended> {
    let mut picture = Picture::default();
    while picture.live.is_none() {
        picture.hear(stream.next().await?);
    }
    let text = once::text(&picture, &reach.admin.to_string(), Paint::of_terminal());
    // Whoever stopped reading (`weir top --once | head`) does not want the rest.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(0)
}

/// What the loop waits for, apart from the clock.
struct Sources {
    events: Receiver<Event>,
    news: Receiver<News>,
    outcomes: Receiver<Outcome>,
    signals: [Signal; 3],
}

/// Shows it until somebody has seen enough.
async fn watch(reach: Reach, stream: Stream) -> Result<u8, feed::Ended> {
    let mut state = State::new(reach.admin.to_string(), Paint::of_terminal());
    let (tell_news, news) = channel(WAITING_MAX);
    let (tell_outcome, outcomes) = channel(WAITING_MAX);
    tokio::spawn(feed::follow(reach.clone(), stream, tell_news));
    let opened = signals().and_then(|signals| {
        let screen = Screen::open()?;
        Ok((screen, Sources { events: screen::events()?, news, outcomes, signals }))
    });
    let ended = match opened {
        Ok((mut screen, mut sources)) => {
            let ended = turn(&mut state, &mut screen, &mut sources, &reach, &tell_outcome).await;
            drop(screen);
            ended
        }
        Err(error) => Err(error),
    };
    Ok(match ended {
        Ok(()) => 0,
        Err(error) => {
            tell(format_args!("the terminal cannot be used: {error}"));
            FAILED
        }
    })
}

fn signals() -> io::Result<[Signal; 3]> {
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?])
}

/// Draws, waits for whatever comes first, and again.
async fn turn(
    state: &mut State,
    screen: &mut Screen,
    sources: &mut Sources,
    reach: &Reach,
    tell: &Sender<Outcome>,
) -> io::Result<()> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        screen.draw(state)?;
        let Sources { events, news, outcomes, signals: [one, two, three] } = sources;
        tokio::select! {
            event = events.recv() => match event {
                None => return Err(io::Error::other("its keys cannot be read any more")),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => match state.press(key) {
                    Act::Nothing => {}
                    Act::Quit => return Ok(()),
                    Act::Ask { change, dry_run } => {
                        tokio::spawn(ask(reach.clone(), change, dry_run, tell.clone()));
                    }
                },
                // Another size, which is looked at with each picture.
                Some(_) => {}
            },
            Some(news) = news.recv() => state.hear(news, crate::sys::clock::now()),
            Some(outcome) = outcomes.recv() => state.learn(outcome),
            _ = tick.tick() => {}
            _ = one.recv() => return Ok(()),
            _ = two.recv() => return Ok(()),
            _ = three.recv() => return Ok(()),
        }
    }
}

/// Asks for a change.
async fn ask(reach: Reach, change: Change, dry_run: bool, tell: Sender<Outcome>) {
    let token = reach.token_file.as_deref().map(client::token).transpose();
    let outcome = match token {
        Ok(token) => {
            let answer = client::answer(&reach.admin, token.as_deref(), &change.asked(dry_run)).await;
            change.outcome(dry_run, answer)
        }
        Err(fault) => Outcome { change, dry_run, told: Err(fault.to_string()) },
    };
    // The terminal may have been left meanwhile.
    let _ = tell.send(outcome).await;
}
