//! A terminal with a program in it: what is seen there, what is pressed, what is left when the program has gone.
//!
//! A pseudo terminal, read by another project's terminal emulator. `setsid` makes it the program's controlling
//! terminal and `stty` changes its size, as a window's frame does.

use super::wait::{require, wait_up_to};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{Pid, ttyname};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a program in it, which is killed when this is dropped.
pub struct Terminal {
    child: Child,
    keyboard: File,
    name: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

/// What the program has written.
struct Seen {
    emulator: vt100::Parser,
    bytes: Vec<u8>,
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

impl Terminal {
    /// A terminal of so many columns and rows in which `program` runs with `arguments`; `None` if this machine
    /// lacks what that needs.
    pub fn spawn(program: &str, arguments: &[&str], set: &[(&str, &str)], size: (u16, u16)) -> Option<Self> {
        let (setsid, _) = (require("setsid")?, require("stty")?);
        let (columns, rows) = size;
        let window = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&window, None).unwrap();
        let name = ttyname(&pty.slave).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = Command::new(setsid)
            .args(["--ctty", program])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("WEIR_ADMIN")
            .env_remove("WEIR_ADMIN_TOKEN_FILE")
            .envs(set.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keyboard = File::from(pty.master);
        let emulator = vt100::Parser::new(cells(rows), cells(columns), 0);
        let seen = Arc::new(Mutex::new(Seen { emulator, bytes: Vec::new() }));
        let (kept, mut screen) = (seen.clone(), keyboard.try_clone().unwrap());
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                let mut seen = kept.lock().unwrap();
                seen.emulator.process(&piece[..count]);
                seen.bytes.extend_from_slice(&piece[..count]);
            }
        });
        Some(Self { child, keyboard, name, seen })
    }

    /// What is seen now.
    pub fn text(&self) -> String {
        self.seen.lock().unwrap().emulator.screen().contents()
    }

    /// All that was written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// Waits until this is seen.
    pub fn wait_for(&self, what: &str) {
        self.wait_until(&format!("{what:?} is seen"), |text| text.contains(what));
    }

    /// Waits until what is seen is as it ought to be.
    ///
    /// # Panics
    /// It is not within a minute; what is seen instead is shown.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let (mut tries, step) = (0, Duration::from_millis(10));
        while !condition(&self.text()) {
            assert!(step * tries < PATIENCE, "waited in vain until {what}; seen is\n{}", self.text());
            tries += 1;
            thread::sleep(step);
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives it another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.seen.lock().unwrap().emulator.set_size(cells(rows), cells(columns));
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let told = Command::new("stty")
            .args(["cols", &columns, "rows", &rows])
            .stdin(File::open(&self.name).unwrap())
            .status()
            .unwrap();
        assert!(told.success());
    }

    /// Whether it is as a shell wants it: the usual screen, the cursor shown, lines and echo.
    pub fn is_usual(&self) -> bool {
        let flags = tcgetattr(&self.keyboard).unwrap().local_flags;
        let seen = self.seen.lock().unwrap();
        let screen = seen.emulator.screen();
        let lines = flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        !screen.alternate_screen() && !screen.hide_cursor() && lines
    }

    /// Whether a program has all of it: a screen of its own, no cursor, every key at once.
    pub fn is_taken(&self) -> bool {
        let flags = tcgetattr(&self.keyboard).unwrap().local_flags;
        let seen = self.seen.lock().unwrap();
        let screen = seen.emulator.screen();
        let lines = flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        screen.alternate_screen() && screen.hide_cursor() && !lines
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits until the program has ended.
    ///
    /// # Panics
    /// It has not.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_up_to(PATIENCE, "the program in the terminal has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the terminal:\n{}\n---", self.text());
        }
    }
}
