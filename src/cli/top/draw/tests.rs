//! How states look, cell by cell.

use super::super::change::{Change, Outcome, Verb};
use super::super::feed::News;
use super::super::scene;
use super::super::state::{Page, State};
use super::*;
use crate::admin::live::model::Live;
use crate::cli::table::Paint;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use std::time::Duration;

fn shown(state: &State, width: u16, height: u16) -> String {
    shown_at(state, Instant::default(), width, height)
}

fn shown_at(state: &State, now: Instant, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, now, frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..height {
        let (mut line, mut x) = (String::new(), 0);
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += super::width(symbol).max(1) as u16;
        }
        assert!(x == width, "a wide character stands across the edge of row {y}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn knowing(live: Live) -> State {
    let mut state = State::new("127.0.0.1:9900".to_owned(), Paint::Plain);
    for news in scene::told(live) {
        state.hear(news, Instant::default());
    }
    state
}

fn assert_shown(state: &State, (width, height): (u16, u16), expected: &str) {
    let found = shown(state, width, height);
    assert_eq!(found, expected, "\n{found}");
}

#[test]
fn eighty_by_twenty_four_shows_who_is_how_and_why() {
    assert_shown(
        &knowing(scene::busy()),
        (80, 24),
        "\
weir 0.1.0  127.0.0.1:9900  up 3h 5m  ready                                live
2,469 req/s  errors 0.4 %  refused 0.5/s  in flight 7  p50 840 µs  p99 3.36 ms
[1 backends]  2 latency   3 shards   4 transitions
  BACKEND        STATE       SINCE   IN-FL SHARDS   REQ/S ERRORS     P50     P99
app  least_conn  1 of 3 usable
▸ one            up          3h 5m       4 ▃▁       1,235    0 %  840 µs 3.36 ms
  two            down        2m 10s      0 ··     3 checks failed: connection r…
  three          draining    4s          9 █·     drained by an operator
static  least_conn  1 of 1 usable
  10.0.0.21:9000 up          3h 5m       4 ▃▁       1,235    0 %  840 µs 3.36 ms




── one of pool app ─────────────────────────────────────────────────────────────
up for 3h 5m: 2 checks passed

10.0.0.11:8080  weight 10
p50     840 µs ▂▂▂▂██▂▂▂▂ peak 5.00 ms  req/s    1,235 ▆▆▆▆▇▇▇████ peak 1,490
p90    1.68 ms ▂▂▂▂██▂▂▂▂ peak 10.0 ms  errors     0 % ▁▁▁▁▁▁▁▁▁▁▁ peak 0 %
p99    3.36 ms ▂▂▂▂██▂▂▂▂ peak 20.0 ms  flight       4 ███████████ peak 4
p99.9  8.40 ms ▂▂▂▂██▂▂▂▂ peak 50.0 ms  by shard  3 1

? help  q quit  Tab page  ↑↓ row  d drain  r ready  m maint.  w weight  p pause
",
    );
}

#[test]
fn more_room_shows_more_columns() {
    assert_shown(&knowing(scene::busy()), (120, 30), "\
weir 0.1.0  127.0.0.1:9900  up 3h 5m  ready                                                                        live
2,469 req/s  errors 0.4 %  refused 0.5/s  in flight 7  p50 840 µs  p90 1.68 ms  p99 3.36 ms  p99.9 8.40 ms
[1 backends]  2 latency   3 shards   4 transitions
  BACKEND        STATE       SINCE   WEIGHT IN-FL SHARDS   REQ/S ERRORS     P50     P90     P99   P99.9 P99, 10 MIN
app  least_conn  1 of 3 usable
▸ one            up          3h 5m       10     4 ▃▁       1,235    0 %  840 µs 1.68 ms 3.36 ms 8.40 ms ▂▂▂▂▂▂███▂▂▂▂▂▂▂
  two            down        2m 10s      10     0 ··     3 checks failed: connection refused (os error 111)
  three          draining    4s          10     9 █·     drained by an operator
static  least_conn  1 of 1 usable
  10.0.0.21:9000 up          3h 5m       10     4 ▃▁       1,235    0 %  840 µs 1.68 ms 3.36 ms 8.40 ms ▂▂▂▂▂▂███▂▂▂▂▂▂▂










── one of pool app ─────────────────────────────────────────────────────────────────────────────────────────────────────
up for 3h 5m: 2 checks passed

10.0.0.11:8080  weight 10
p50     840 µs ▂▂▂▂▂▂▂▂▂▂▂▂████▂▂▂▂▂▂▂▂▂▂▂▂▂▂ peak 5.00 ms  req/s    1,235 ▅▅▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇██████████ peak 1,490
p90    1.68 ms ▂▂▂▂▂▂▂▂▂▂▂▂████▂▂▂▂▂▂▂▂▂▂▂▂▂▂ peak 10.0 ms  errors     0 % ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁ peak 0 %
p99    3.36 ms ▂▂▂▂▂▂▂▂▂▂▂▂████▂▂▂▂▂▂▂▂▂▂▂▂▂▂ peak 20.0 ms  flight       4 ███████████████████████████████ peak 4
p99.9  8.40 ms ▂▂▂▂▂▂▂▂▂▂▂▂████▂▂▂▂▂▂▂▂▂▂▂▂▂▂ peak 50.0 ms  by shard  3 1

? help  q quit  Tab page  ↑↓ row  d drain  r ready  m maint.  w weight  p pause
");
    let wide = shown(&knowing(scene::busy()), 180, 30);
    assert!(wide.contains("WEIGHT") && wide.contains("WHY") && wide.contains("P99, 10 MIN"), "{wide}");
}

#[test]
fn the_past_of_a_phase_is_a_heat_map_and_with_room_all_four() {
    let mut state = knowing(scene::busy());
    state.page = Page::Latency;
    assert_shown(
        &state,
        (80, 24),
        "\
weir 0.1.0  127.0.0.1:9900  up 3h 5m  ready                                live
2,469 req/s  errors 0.4 %  refused 0.5/s  in flight 7  p50 840 µs  p99 3.36 ms
 1 backends  [2 latency]  3 shards   4 transitions
PHASE           P50      P90      P99    P99.9 WHAT IT IS
connect       60 µs        -   240 µs   600 µs until a new connection to a back…
first byte   800 µs  1.60 ms  3.20 ms  8.00 ms from the request's way to the ba…
whole        840 µs  1.68 ms  3.36 ms  8.40 ms from the request's head until th…
own           12 µs    24 µs    48 µs   120 µs weir's own share of it

whole      share of what came then: · some ░ 2 % ▒ 10 % ▓ 30 % █ 60 %
    longer                             ········
 ≤ 10.0 ms                             ░░░░░░░░
 ≤ 5.00 ms ····························▓██████▓·································
 ≤ 2.50 ms ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░      ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
 ≤ 1.00 ms ████████████████████████████▓      ▓█████████████████████████████████
           10 min ago                                                        now







? help  q quit  Tab page  ←→ phase  p pause
",
    );
    let all = shown(&state, 120, 40);
    assert_eq!(all.matches("10 min ago").count(), 4, "{all}");
    state.press(KeyEvent::from(KeyCode::Right));
    assert!(shown(&state, 80, 24).contains("\nown        share of what came then"));
}

#[test]
fn shards_and_transitions_have_pages_of_their_own() {
    let mut state = knowing(scene::busy());
    state.page = Page::Shards;
    assert_shown(
        &state,
        (80, 16),
        "\
weir 0.1.0  127.0.0.1:9900  up 3h 5m  ready                                live
2,469 req/s  errors 0.4 %  refused 0.5/s  in flight 7  p50 840 µs  p99 3.36 ms
 1 backends   2 latency  [3 shards]  4 transitions
SHARD STATE   CLIENTS IN-FL   LOAD            TURNS/S STALL P99 VIEW P99 BUFFERS
    0 serving     120     3   42 % ████······   5,120    310 µs   900 µs      17
    1 stalled     120     3  100 % ██████████   5,120    310 µs   900 µs      17

stall: how long what completed may have waited for the loop; view: how old a
shard's picture of the others was at a pick; load: the share of time in which it
did not sleep
refused since the start: overloaded (503) 1,234, no_route (404) 12




? help  q quit  Tab page  ↑↓ row  p pause
",
    );
    state.page = Page::Transitions;
    assert_shown(
        &state,
        (80, 18),
        "\
weir 0.1.0  127.0.0.1:9900  up 3h 5m  ready                                live
2,469 req/s  errors 0.4 %  refused 0.5/s  in flight 7  p50 840 µs  p99 3.36 ms
 1 backends   2 latency   3 shards  [4 transitions]
      AGO BACKEND      FROM → TO          FAILOVER  LOST WHY
▸  2m 10s two          up → down           1.25 ms     2 3 checks failed: conne…
    3h 5m two          new → up                  -     - 2 checks passed







two of pool app, 2m 10s ago: up → down: 3 checks failed: connection refused



? help  q quit  Tab page  ↑↓ row  p pause
",
    );
}

#[test]
fn nothing_known_is_said_and_a_terminal_too_small_too() {
    let state = State::new("unix:/run/weir/admin.sock".to_owned(), Paint::Plain);
    assert_shown(
        &state,
        (60, 12),
        "\
weir                                             connecting

[1 backends]  2 latency   3 shards   4 transitions

waiting for news from unix:/run/weir/admin.sock






? help  q quit  Tab page  ↑↓ row  d drain  r ready  m maint.
",
    );
    let found = shown(&knowing(scene::busy()), 30, 6);
    assert_eq!(found, "This terminal has 30x6 cells;\nweir top needs 40x12. q: quit\n\n\n\n\n");
    let mut none = knowing(scene::live(Vec::new()));
    assert!(shown(&none, 80, 24).contains("there are no pools"));
    none.page = Page::Transitions;
    assert!(shown(&none, 80, 24).contains("up → down"));
}

#[test]
fn a_pool_in_panic_a_long_why_and_a_lost_connection_are_in_plain_words() {
    let why = "3 checks failed: the answer was 503 and not one of 200 to 399, and before that the connection was \
               refused by the host, which answers pings; see the log of the backend itself for more than that";
    let mut live =
        scene::live(vec![scene::pool("app", vec![scene::down("one", why), scene::down("two", why)])]);
    live.pools[0].panic = true;
    (live.ready, live.why) = (false, Some("no backend of pool app is usable".to_owned()));
    let mut state = knowing(live);
    state
        .hear(News::Lost("weir ended the connection".to_owned(), Duration::from_secs(2)), Instant::default());
    assert_shown(
        &state,
        (80, 24),
        "\
weir 0.1.0  127.0.0.1:9900  up 3h 5m  NOT READY: no backend of p… NOT CONNECTED
2,469 req/s  errors 0.4 %  refused 0.5/s  in flight 7  p50 840 µs  p99 3.36 ms
[1 backends]  2 latency   3 shards   4 transitions
  BACKEND        STATE       SINCE   IN-FL SHARDS   REQ/S ERRORS     P50     P99
app  least_conn  0 of 2 usable   PANIC: too few are healthy, so all get traffic
▸ one            down        2m 10s      0 ··     3 checks failed: the answer w…
  two            down        2m 10s      0 ··     3 checks failed: the answer w…







── one of pool app ─────────────────────────────────────────────────────────────
down for 2m 10s: 3 checks failed: the answer was 503 and not one of 200 to 399,
and before that the connection was refused by the host, which answers pings; se…
10.0.0.11:8080  weight 10  gets nothing new
p50          -                          req/s        0           ▁ peak 0
p90          -                          errors     0 %           ▁ peak 0 %
p99          -                          flight       0           ▁ peak 0
p99.9        -                          by shard  0 0
again in 2 s: weir ended the connection
? help  q quit  Tab page  ↑↓ row  d drain  r ready  m maint.  w weight  p pause
",
    );
    state.press(KeyEvent::from(KeyCode::Char('p')));
    assert!(shown(&state, 80, 24).contains("NOT CONNECTED"));
}

#[test]
fn news_that_are_old_are_not_called_live() {
    let mut state = knowing(scene::busy());
    assert!(shown_at(&state, Instant::from_us(2_900_000), 80, 24).contains(" live\n"));
    assert!(shown_at(&state, Instant::from_us(7_200_000), 80, 24).contains(" 7 s OLD\n"));
    state.press(KeyEvent::from(KeyCode::Char('p')));
    assert!(shown_at(&state, Instant::from_us(7_200_000), 80, 24).contains(" PAUSED\n"));
}

#[test]
fn names_that_are_not_plain_break_nothing() {
    let names = [
        "\u{1b}[2Jclear",
        "漢字漢字漢字漢字漢字漢字",
        "right\u{202e}left",
        "a\nb",
        "",
        "x".repeat(300).as_str(),
    ]
    .map(|name| scene::down(name, "漢字 \u{7} because\r\nof it"));
    let mut state = knowing(scene::live(vec![scene::pool("漢\tpool", names.to_vec())]));
    for (width, height) in [(40, 12), (41, 13), (79, 24), (80, 24), (121, 40), (300, 100)] {
        for page in Page::ALL {
            state.page = page;
            let text = shown(&state, width, height);
            assert!(text.lines().all(|line| !line.contains(char::is_control)), "{text:?}");
            // A dialog too, over halves of wide characters.
            state.press(KeyEvent::from(KeyCode::Char('?')));
            assert!(shown(&state, width, height).contains("weir top ─"), "{width}x{height}");
            state.press(KeyEvent::from(KeyCode::Esc));
        }
        state.page = Page::Backends;
    }
    assert!(shown(&state, 80, 24).contains("\u{fffd}[2Jclear"));
}

#[test]
fn what_a_change_would_come_to_lies_over_the_page() {
    let mut state = knowing(scene::busy());
    state.press(KeyEvent::from(KeyCode::Char('w')));
    "12".chars().for_each(|key| drop(state.press(KeyEvent::from(KeyCode::Char(key)))));
    let typed = shown(&state, 80, 24);
    assert!(
        typed.contains("one of pool app has the weight 10.") && typed.contains("1 to 256: 12_"),
        "{typed}"
    );
    state.press(KeyEvent::from(KeyCode::Enter));
    let change = Change { pool: "app".to_owned(), backend: "one".to_owned(), verb: Verb::Weight(12) };
    let told = Ok("nothing was done; it would come to this:\nbackend one has the weight 12\n".to_owned());
    state.learn(Outcome { change, dry_run: true, told });
    let text = shown(&state, 80, 24);
    for part in [
        "give one of pool app the weight 12?",
        "nothing was done",
        "backend one has the weight 12",
        "y: do it",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted_and_never_the_only_sign() {
    let colours = |paint| {
        let mut state = State::new("x".to_owned(), paint);
        for news in scene::told(scene::busy()) {
            state.hear(news, Instant::default());
        }
        let area = Rect::new(0, 0, 120, 40);
        let mut buffer = Buffer::empty(area);
        draw(&state, Instant::default(), area, &mut buffer);
        buffer.content.iter().filter(|cell| cell.fg != ratatui::style::Color::Reset).count()
    };
    assert_eq!(colours(Paint::Plain), 0);
    assert!(colours(Paint::Coloured) > 50);
    let mut coloured = knowing(scene::busy());
    let plain = shown(&coloured, 120, 40);
    coloured.paint = Paint::Coloured;
    assert_eq!(shown(&coloured, 120, 40), plain);
}
