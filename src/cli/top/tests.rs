//! What keys and news do to the state.

use super::change::{Change, Outcome, Verb};
use super::feed::News;
use super::scene;
use super::state::{Act, Dialog, Link, Page, State};
use crate::cli::table::Paint;
use crate::time::Instant;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;

/// A state that knows the busy scene: app/one, app/two, app/three, static/10.0.0.21:9000.
fn busy() -> State {
    let mut state = State::new("127.0.0.1:9900".to_owned(), Paint::Plain);
    let live = scene::busy();
    state.hear(News::Live(Box::new(live)), Instant::default());
    state
}

fn press(state: &mut State, keys: &str) -> Act {
    let press = |key| {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '<' => KeyCode::Backspace,
            '^' => KeyCode::Esc,
            key => KeyCode::Char(key),
        };
        state.press(KeyEvent::new(code, KeyModifiers::NONE))
    };
    keys.chars().map(press).last().unwrap()
}

fn change(backend: &str, verb: Verb) -> Change {
    Change { pool: "app".to_owned(), backend: backend.to_owned(), verb }
}

fn selected(state: &State) -> String {
    state.selected().unwrap().1.name.clone()
}

#[test]
fn a_change_is_tried_first_and_made_only_after_y() {
    for (key, verb) in [('d', Verb::Drain), ('r', Verb::Ready), ('m', Verb::Maintenance)] {
        let mut state = busy();
        let two = change("two", verb);
        let asked = press(&mut state, &format!("j{key}"));
        assert_eq!(asked, Act::Ask { change: two.clone(), dry_run: true });
        // Not before it is known what it comes to.
        assert_eq!(press(&mut state, "y\nd"), Act::Nothing);
        let told = Ok("it would drain".to_owned());
        state.learn(Outcome { change: two.clone(), dry_run: true, told });
        assert_eq!(state.dialog, Dialog::Confirm(two.clone(), "it would drain".to_owned()));
        assert_eq!(press(&mut state, "\nx d"), Act::Nothing);
        assert_eq!(press(&mut state, "y"), Act::Ask { change: two.clone(), dry_run: false });
        assert_eq!(state.dialog, Dialog::Doing(two.clone()));
        state.learn(Outcome { change: two, dry_run: false, told: Ok("drained\nby 2 shards\n".to_owned()) });
        assert_eq!(state.dialog, Dialog::Closed);
        let notice = state.notice.clone().unwrap();
        assert_eq!((notice.text.as_str(), notice.good), ("drained; by 2 shards", true));
    }
}

#[test]
fn who_leaves_a_change_does_nothing_and_an_answer_that_comes_late_opens_nothing() {
    for leave in ["^", "n", "q"] {
        let mut state = busy();
        press(&mut state, "d");
        assert_eq!(press(&mut state, leave), Act::Nothing);
        let one = change("one", Verb::Drain);
        state.learn(Outcome { change: one.clone(), dry_run: true, told: Ok("it would".to_owned()) });
        assert_eq!((&state.dialog, &state.notice), (&Dialog::Closed, &None));
        press(&mut state, "d");
        state.learn(Outcome { change: one.clone(), dry_run: true, told: Ok("it would".to_owned()) });
        assert_eq!(press(&mut state, leave), Act::Nothing);
        assert_eq!(state.dialog, Dialog::Closed);
        // What is under way is told even to who has looked away.
        state.learn(Outcome { change: one, dry_run: false, told: Err("too late".to_owned()) });
        assert!(state.notice.as_ref().is_some_and(|notice| !notice.good && notice.text == "too late"));
    }
}

#[test]
fn what_weir_refuses_is_told_and_closes_the_dialog() {
    let mut state = busy();
    press(&mut state, "d");
    let told = Err("there is no backend; look again\n".to_owned());
    state.learn(Outcome { change: change("one", Verb::Drain), dry_run: true, told });
    assert_eq!(state.dialog, Dialog::Closed);
    assert!(state.notice.as_ref().is_some_and(|notice| !notice.good));
    // Until the next key.
    press(&mut state, "j");
    assert_eq!(state.notice, None);
}

#[test]
fn a_weight_is_typed_and_must_be_one() {
    let mut state = busy();
    for wrong in ["w\n", "w0\n", "w257\n"] {
        assert_eq!(press(&mut state, wrong), Act::Nothing, "{wrong}");
        assert!(state.notice.is_some() && matches!(state.dialog, Dialog::Weighing { .. }), "{wrong}");
        press(&mut state, "^");
        assert_eq!(state.dialog, Dialog::Closed);
    }
    let asked = press(&mut state, "w12a34<<5\n");
    assert_eq!(asked, Act::Ask { change: change("one", Verb::Weight(15)), dry_run: true });
}

#[test]
fn a_change_needs_a_backend_that_is_seen_to_be_selected() {
    let mut state = busy();
    assert_eq!(press(&mut state, "\td"), Act::Nothing);
    assert!(state.notice.is_some() && state.dialog == Dialog::Closed);
    let mut nobody = State::new("x".to_owned(), Paint::Plain);
    assert_eq!(press(&mut nobody, "d"), Act::Nothing);
    assert!(nobody.notice.is_some());
}

#[test]
fn the_selection_stays_with_its_backend_when_others_come_and_go() {
    let mut state = busy();
    press(&mut state, "jj");
    assert_eq!(selected(&state), "three");
    let with = |names: &[&str]| {
        let backends = names.iter().map(|name| scene::backend(name)).collect();
        News::Live(Box::new(scene::live(vec![scene::pool("app", backends)])))
    };
    state.hear(with(&["new", "one", "two", "three"]), Instant::default());
    assert_eq!(selected(&state), "three");
    // Who is gone leaves the selection to who took its place.
    state.hear(with(&["new", "one"]), Instant::default());
    assert_eq!(selected(&state), "one");
    press(&mut state, "k");
    assert_eq!(selected(&state), "new");
    press(&mut state, "kkG");
    assert_eq!(selected(&state), "one");
    press(&mut state, "g");
    assert_eq!(selected(&state), "new");
    state.hear(with(&[]), Instant::default());
    assert!(state.selected().is_none());
}

#[test]
fn keys_turn_pages_pause_and_quit() {
    let mut state = busy();
    for page in [Page::Latency, Page::Shards, Page::Transitions, Page::Backends] {
        press(&mut state, "\t");
        assert_eq!(state.page, page);
    }
    press(&mut state, "3");
    assert_eq!(state.page, Page::Shards);
    press(&mut state, "?");
    assert_eq!((press(&mut state, "q"), &state.dialog), (Act::Nothing, &Dialog::Closed));
    press(&mut state, "p");
    let mut live = scene::busy();
    live.pools.clear();
    state.hear(News::Live(Box::new(live)), Instant::default());
    assert_eq!(state.picture().pools().len(), 2);
    press(&mut state, "p");
    assert_eq!(state.picture().pools().len(), 0);
    assert_eq!([press(&mut state, "q"), press(&mut state, "^")], [Act::Quit, Act::Quit]);
    press(&mut state, "1w");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.press(interrupt), Act::Quit);
}

#[test]
fn a_lost_connection_is_known_until_weir_tells_what_holds() {
    let mut state = busy();
    assert_eq!(state.link, Link::Following);
    let now = Instant::from_us(7_000_000);
    state.hear(News::Lost("gone".to_owned(), Duration::from_secs(2)), now);
    assert_eq!(state.link, Link::Lost("gone".to_owned(), Instant::from_us(9_000_000)));
    assert_eq!(state.picture().pools().len(), 2);
    let live = scene::busy();
    state.hear(News::Live(Box::new(live)), now);
    assert_eq!(state.link, Link::Following);
}
