//! The state file: what an operator changed at run time, kept over a restart (`runtime.state_file`).
//!
//! Here: reading it at start, and writing it anew at every change, whole or not at all. Not here: what of
//! it still holds (`merge.rs` beside this file). Health is not kept: by the time that weir starts again it
//! is out of date, and checks find it out within seconds; a takeover carries it.
//!
//! Written on a thread of the runtime for blocking work, since a disk may take seconds and control must
//! not. One write at a time; of the changes made meanwhile the last one is written next and the others
//! never. A file that cannot be read is set aside and told of in the log, and weir starts without it: what
//! serves by the configuration alone is better than what does not serve.

use crate::fleet::carried::{Carried, VERSION};
use serde::Deserialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the end of the process waits for a disk.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// Why a state file is not used.
#[derive(Debug, thiserror::Error)]
pub enum StateRefused {
    /// The kernel does not let it be read.
    #[error("{path}: cannot be read: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The kernel's word.
        cause: io::Error,
    },
    /// It is not what weir writes.
    #[error("{path}:{line}:{column}: is not what weir writes: {cause}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's word.
        cause: String,
    },
    /// Another weir wrote it.
    #[error("{path}: has the form {found}, and this version of weir reads {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its form's number.
        found: u32,
    },
    /// It says what cannot be.
    #[error("{path}: pool {pool:?}, backend {backend:?}: a weight of {weight} is not possible")]
    Weight {
        /// The file.
        path: PathBuf,
        /// The pool's name.
        pool: String,
        /// The backend's name.
        backend: String,
        /// Not within 1 to 256.
        weight: u16,
    },
}

/// The file that run-time changes are kept in.
#[derive(Clone)]
pub struct StateFile {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    queue: Mutex<Queue>,
    /// Told when a writer is done.
    done: Condvar,
}

/// Who writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Nobody,
    /// A thread is asked for and has not begun.
    Called,
    Writing,
}

/// What is to be written: at most one text under way, at most one after it.
#[derive(Debug, Default)]
struct Queue {
    writer: Writer,
    next: Option<String>,
    /// What was last given to be written: the same again is no change.
    last: Option<String>,
    /// The last write failed, and the log says so.
    failed: bool,
}

impl Queue {
    /// Takes a text to be written; whether a writer must be called for it.
    fn offer(&mut self, text: String) -> bool {
        if self.last.as_ref() == Some(&text) && !self.failed {
            return false;
        }
        self.last = Some(text.clone());
        self.next = Some(text);
        let nobody = self.writer == Writer::Nobody;
        if nobody {
            self.writer = Writer::Called;
        }
        nobody
    }

    /// A writer comes; whether it is the one.
    fn begin(&mut self) -> bool {
        let called = self.writer == Writer::Called;
        if called {
            self.writer = Writer::Writing;
        }
        called
    }

    /// The writer's next text; `None`: it is done.
    fn take(&mut self) -> Option<String> {
        let next = self.next.take();
        if next.is_none() {
            self.writer = Writer::Nobody;
        }
        next
    }
}

impl StateFile {
    /// Opens the file, and reads what it has: `None` if there is none yet, or it is none that can be used;
    /// that is set aside as FILE.bad, and the log says so.
    pub fn open(path: &Path) -> (Self, Option<Carried>) {
        let kept = read(path).unwrap_or_else(|refused| {
            set_aside(path, &refused);
            None
        });
        let queue = Queue { last: kept.as_ref().and_then(|kept| text_of(kept).ok()), ..Queue::default() };
        let shared = Shared { path: path.to_owned(), queue: Mutex::new(queue), done: Condvar::new() };
        (Self { shared: Arc::new(shared) }, kept)
    }

    /// Keeps what of `carried` an operator changed. Returns at once; called within control's runtime.
    pub fn save(&self, carried: &Carried) {
        let text = match text_of(&carried.clone().only_changes()) {
            Ok(text) => text,
            Err(cause) => return tracing::error!(%cause, "run-time changes cannot be written down"),
        };
        if self.shared.queue().offer(text) {
            let shared = self.shared.clone();
            tokio::task::spawn_blocking(move || shared.write_all());
        }
    }

    /// Waits until everything is written, a few seconds at most; called at the end, when nothing is saved
    /// any more.
    pub fn settle(&self) {
        // A runtime that ends starts no threads any more; whoever was called but has not begun is replaced.
        self.shared.write_all();
        let queue = self.shared.queue();
        let is_writing = |queue: &mut Queue| queue.writer == Writer::Writing;
        let waited = self.shared.done.wait_timeout_while(queue, SETTLE_WITHIN, is_writing);
        if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
            let file = self.shared.path.display();
            tracing::error!(%file, "the last run-time change is not written: the disk does not answer");
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nobody panics halfway through a change of it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what there is, and what is added meanwhile, unless somebody else does.
    fn write_all(&self) {
        if !self.queue().begin() {
            return;
        }
        loop {
            let Some(text) = self.queue().take() else { break };
            let written = write(&self.path, &text);
            let failed = written.is_err();
            let had_failed = std::mem::replace(&mut self.queue().failed, failed);
            let file = self.path.display();
            match written {
                Err(cause) => tracing::error!(
                    %file, %cause,
                    "run-time changes cannot be written: a restart forgets them; make the folder writable for weir's user, or make room"
                ),
                Ok(()) if had_failed => tracing::info!(%file, "run-time changes are written again"),
                Ok(()) => {}
            }
        }
        self.done.notify_all();
    }
}

/// Reads and checks the file; `None`: there is none.
fn read(path: &Path) -> Result<Option<Carried>, StateRefused> {
    let unreadable = |cause| StateRefused::Unreadable { path: path.to_owned(), cause };
    let text = match fs::metadata(path).map(|found| found.is_file()) {
        Ok(true) => fs::read(path).map_err(unreadable)?,
        // Reading a pipe would wait for ever.
        Ok(false) => return Err(unreadable(io::Error::other("it is no regular file"))),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(unreadable(cause)),
    };
    let corrupt = |error: serde_json::Error| StateRefused::Corrupt {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        cause: without_place(&error.to_string()).to_owned(),
    };
    // The number first: what another version writes may have another form.
    let Form { version: found } = serde_json::from_slice(&text).map_err(corrupt)?;
    if found != VERSION {
        return Err(StateRefused::Version { path: path.to_owned(), found });
    }
    let kept: Carried = serde_json::from_slice(&text).map_err(corrupt)?;
    for pool in &kept.pools {
        if let Some(backend) = pool.backends.iter().find(|backend| !(1..=256).contains(&backend.weight)) {
            return Err(StateRefused::Weight {
                path: path.to_owned(),
                pool: pool.name.clone(),
                backend: backend.name.clone(),
                weight: backend.weight,
            });
        }
    }
    Ok(Some(kept))
}

/// As little of a state file as every version has.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

/// The parser's word without the place that it adds at the end.
fn without_place(cause: &str) -> &str {
    cause.rsplit_once(" at line ").map_or(cause, |(cause, _)| cause)
}

fn set_aside(path: &Path, refused: &StateRefused) {
    let aside = beside(path, ".bad");
    let renamed = match fs::metadata(path) {
        // A folder that a slip in the configuration names has its own use.
        Ok(found) if !found.is_file() => Err(io::Error::other("it is no regular file")),
        Ok(_) | Err(_) => fs::rename(path, &aside),
    };
    match renamed {
        Ok(()) => tracing::error!(
            "{refused}; weir starts with the configuration alone and keeps the file as {}: repeat the changes in it that still matter",
            aside.display()
        ),
        Err(cause) => tracing::error!(
            "{refused}; weir starts with the configuration alone, and the next run-time change overwrites the file, since it cannot be set aside ({cause}): copy it first if it matters"
        ),
    }
}

fn text_of(carried: &Carried) -> serde_json::Result<String> {
    serde_json::to_string_pretty(carried).map(|text| text + "\n")
}

/// A file beside `path`, in the same directory and so in the same file system.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Replaces the file: who reads it, after a power cut too, finds the old text or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    // The process's own name for it: during a takeover there are two that may write.
    let fresh = beside(path, &format!(".{}", std::process::id()));
    let written = write_fresh(&fresh, text).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // What could not be made whole is of no use; if it is not there, so much the better.
        let _ = fs::remove_file(&fresh);
        return written;
    }
    // The rename is a change of the directory, which has a cache of its own.
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)?.sync_all()
}

fn write_fresh(fresh: &Path, text: &str) -> io::Result<()> {
    // In a container every weir has the same number, so one that was killed may have left its file.
    match fs::remove_file(fresh) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::fleet::carried::{CarriedBackend, CarriedCheck, CarriedPool};
    use crate::fleet::status::Will;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder of the test's own, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("weir-state-{}-{number}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("state.json")
        }

        fn names(&self) -> Vec<String> {
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
            let mut names: Vec<_> = fs::read_dir(&self.0).unwrap().map(name).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn weighing(weight: u16) -> Carried {
        let backend = CarriedBackend {
            name: "a".into(),
            address: "127.0.0.1:80".into(),
            weight,
            will: Will::Draining,
            check: Some(CarriedCheck { up: true, since_us_ago: 1, why: "200".into() }),
            ..CarriedBackend::default()
        };
        let pool = CarriedPool { name: "app".into(), backends: vec![backend], removed: vec![] };
        Carried { version: VERSION, pools: vec![pool], names: vec![] }
    }

    /// Within a runtime, as control has one, which is over afterwards.
    fn in_runtime(act: impl FnOnce()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async { act() });
    }

    #[test]
    fn what_is_saved_is_there_after_a_restart_without_health_and_for_nobody_else_to_read() {
        let folder = Folder::new();
        let (file, kept) = StateFile::open(&folder.file());
        assert_eq!(kept, None);
        in_runtime(|| file.save(&weighing(3)));
        file.settle();
        assert_eq!(StateFile::open(&folder.file()).1, Some(weighing(3).only_changes()));
        assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.names(), ["state.json"], "nothing is left beside it");
    }

    #[test]
    fn the_last_change_is_what_is_kept_however_fast_they_come() {
        let folder = Folder::new();
        let (file, _) = StateFile::open(&folder.file());
        in_runtime(|| (1..=200).for_each(|weight| file.save(&weighing(weight))));
        file.settle();
        assert_eq!(read(&folder.file()).unwrap(), Some(weighing(200).only_changes()));
    }

    #[test]
    fn the_end_writes_what_no_thread_has_come_to_write() {
        let folder = Folder::new();
        let (file, _) = StateFile::open(&folder.file());
        // As if the runtime had ended before it started a thread.
        assert!(file.shared.queue().offer(text_of(&weighing(9)).unwrap()));
        file.settle();
        assert_eq!(read(&folder.file()).unwrap(), Some(weighing(9)));
    }

    #[test]
    fn whoever_reads_meanwhile_finds_a_whole_file() {
        let folder = Folder::new();
        let path = folder.file();
        write(&path, &text_of(&weighing(1)).unwrap()).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for weight in 1..=256 {
                    write(&path, &text_of(&weighing(weight)).unwrap()).unwrap();
                }
            });
            while !writer.is_finished() {
                assert!(read(&path).unwrap().is_some());
            }
        });
    }

    #[test]
    fn one_writes_at_a_time_and_only_the_last_of_what_came_meanwhile() {
        let mut queue = Queue::default();
        assert!(queue.offer("1".into()), "somebody is called");
        assert!(!queue.offer("2".into()));
        assert!(queue.begin() && !queue.begin(), "one begins");
        assert_eq!(queue.take().as_deref(), Some("2"), "1 never");
        assert!(!queue.offer("3".into()) && !queue.offer("4".into()));
        assert_eq!((queue.take().as_deref(), queue.take()), (Some("4"), None));
        assert!(!queue.offer("4".into()), "it is there already");
        queue.failed = true;
        assert!(queue.offer("4".into()), "it is not there");
    }

    #[test]
    fn a_file_that_is_none_is_set_aside_with_its_place_and_the_next_change_is_kept() {
        let whole = text_of(&weighing(3)).unwrap();
        for (case, text, expected) in [
            ("cut off", &whole[..whole.len() / 2], ":11:"),
            ("empty", "", ":1:0: is not what weir writes: EOF"),
            (
                "another form",
                "{\n\"version\": 2, \"x\": 1}",
                "has the form 2, and this version of weir reads 1",
            ),
            ("not one", "[]", ":1:"),
            ("impossible", &whole.replace("\"weight\": 3", "\"weight\": 0"), "backend \"a\": a weight of 0"),
            ("no text", "{\"version\": 1, \"pools\": 3}", ":1:25: is not what weir writes: invalid type"),
        ] {
            let folder = Folder::new();
            fs::write(folder.file(), text).unwrap();
            let refused = read(&folder.file()).unwrap_err().to_string();
            assert!(refused.starts_with(&folder.file().display().to_string()), "{case}: {refused}");
            assert!(refused.contains(expected), "{case}: {refused}");
            let (file, kept) = StateFile::open(&folder.file());
            assert_eq!(kept, None, "{case}");
            assert_eq!(fs::read_to_string(beside(&folder.file(), ".bad")).unwrap(), text, "{case}");
            in_runtime(|| file.save(&weighing(5)));
            file.settle();
            assert_eq!(folder.names(), ["state.json", "state.json.bad"], "{case}");
        }
    }

    #[test]
    fn a_folder_in_its_place_stays_where_it_is() {
        let folder = Folder::new();
        fs::create_dir(folder.file()).unwrap();
        let (file, kept) = StateFile::open(&folder.file());
        assert_eq!(kept, None);
        in_runtime(|| file.save(&weighing(5)));
        file.settle();
        assert!(file.shared.queue().failed && folder.file().is_dir());
        assert_eq!(folder.names(), ["state.json"]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_the_file_and_nothing_else() {
        let folder = Folder::new();
        let (file, _) = StateFile::open(&folder.0.join("none/state.json"));
        in_runtime(|| file.save(&weighing(3)));
        file.settle();
        assert!(file.shared.queue().failed);
        fs::create_dir(folder.0.join("none")).unwrap();
        in_runtime(|| file.save(&weighing(3)));
        file.settle();
        assert!(!file.shared.queue().failed, "the same state is tried again");
        assert_eq!(read(&folder.0.join("none/state.json")).unwrap(), Some(weighing(3).only_changes()));
    }
}
