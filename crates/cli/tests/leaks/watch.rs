//! Gathers everything in which a key could be seen, while commands run: files as they come and go, and what `/proc` tells of
//! every process of the machine.
//!
//! Nothing is judged here. A key may be known only after its bytes went by, so all that was seen is kept (each content once) and
//! searched at the end for all the keys that there ever were.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::search::{Keys, Searcher};
use super::variables::{self, SPIED};

/// Where a key may be by design, and why. Nothing else is left out of the search.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum ByDesign {
    /// The application's file, the hidden one beside it, and the replacements of both while a write lasts.
    Store,
    /// `key generate` prints a key to a pipe or writes it into the file that it was told: that is what it is for.
    Generated,
    /// The application reads its key from the variables of its `envFile`: its own environment, and nobody else's.
    ApplicationsEnvironment,
    /// `--key-env`: the operator has put the key into the environment of this one Keyroll, and it stays in there.
    OperatorsEnvironment,
}

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) keys: Keys,
    /// Each content once, with the first place at which it was seen.
    texts: HashMap<Vec<u8>, String>,
    /// The contents in which keys may be, by the reason.
    by_design: BTreeMap<ByDesign, BTreeMap<Vec<u8>, String>>,
    files: HashMap<PathBuf, Version>,
    names: BTreeSet<Vec<u8>>,
    /// The last argv and environment by pid.
    processes: HashMap<u32, [Vec<u8>; 2]>,
    pub(crate) tally: Tally,
}

/// What the search rests on: one of no command, no process or no file proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Processes of Keyroll, its replicas not counted.
    pub(crate) keyrolls: usize,
    /// Processes of the application.
    pub(crate) applications: usize,
    /// Commands of the user's that Keyroll has run.
    pub(crate) commands: usize,
    pub(crate) processes: usize,
    pub(crate) files: usize,
}

struct Version {
    stamp: (u64, i64, i64, u64),
    content: Vec<u8>,
}

impl Seen {
    /// Keeps a text for the search.
    pub(crate) fn text(&mut self, place: impl Into<String>, text: &[u8]) {
        if !self.texts.contains_key(text) {
            self.texts.insert(text.to_vec(), place.into());
        }
    }

    /// Keeps a text that holds keys by design.
    pub(crate) fn exempt(&mut self, reason: ByDesign, place: impl Into<String>, text: &[u8]) {
        self.by_design.entry(reason).or_default().entry(text.to_vec()).or_insert_with(|| place.into());
    }

    /// How many contents were kept, and how many bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.texts.len(), self.texts.keys().map(Vec::len).sum())
    }

    /// Every place at which a piece of a key was seen without being allowed to.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let searcher = Searcher::new(&self.keys);
        let mut leaks: Vec<String> = self
            .texts
            .iter()
            .flat_map(|(text, place)| searcher.search(text).into_iter().map(move |hit| format!("{place}: {hit}")))
            .collect();
        leaks.sort();
        leaks
    }

    /// The reasons of which no text held a key: an exception that nothing needs hides something.
    pub(crate) fn idle_exceptions(&self) -> Vec<ByDesign> {
        let searcher = Searcher::new(&self.keys);
        let needed = |texts: &BTreeMap<Vec<u8>, String>| texts.keys().any(|text| !searcher.search(text).is_empty());
        self.by_design.iter().filter(|(_, texts)| !needed(texts)).map(|(reason, _)| *reason).collect()
    }

    /// Looks at every process of the machine.
    pub(crate) fn look_at_processes(&mut self, place: &Place) -> io::Result<()> {
        for entry in fs::read_dir("/proc")?.flatten() {
            if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                self.look_at_process(pid, place);
            }
        }
        Ok(())
    }

    /// Looks at one process; one that is gone has nothing to show.
    pub(crate) fn look_at_process(&mut self, pid: u32, place: &Place) {
        let Ok(argv) = fs::read(format!("/proc/{pid}/cmdline")) else { return };
        // That of a process which is not dumpable is closed to everybody but root, and so it tells nobody anything.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if self.processes.get(&pid).is_some_and(|[a, e]| *a == argv && *e == environment) {
            return;
        }
        self.tally.processes += 1;
        let role = place.role(&argv, &environment);
        match role {
            Role::Keyroll => self.tally.keyrolls += 1,
            Role::Application => self.tally.applications += 1,
            Role::Other => {}
        }
        self.text(format!("the arguments of process {pid} ({role:?})"), &argv);
        let shown = format!("the environment of process {pid} ({role:?})");
        match role {
            Role::Application if place.gets_variables(&argv) => {
                self.exempt(ByDesign::ApplicationsEnvironment, shown, &environment);
            }
            Role::Keyroll if contains(&environment, KEY_VARIABLE) => {
                self.exempt(ByDesign::OperatorsEnvironment, shown, &environment);
            }
            _ => self.text(shown, &environment),
        }
        self.processes.insert(pid, [argv, environment]);
    }

    /// Looks at every file below the folders, and learns the keys of the stores among them.
    pub(crate) fn look_at_files(&mut self, place: &Place) {
        self.look_below(&place.root);
    }

    fn look_below(&mut self, folder: &Path) {
        // What has just been removed is no longer there to be searched; what it held was looked at while it was there, or was
        // gone faster than anybody could read it.
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_name() == INPUTS {
                continue;
            }
            if self.names.insert(path.as_os_str().as_encoded_bytes().to_vec()) {
                self.text("a file's name", path.as_os_str().as_encoded_bytes());
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.look_below(&path),
                Ok(kind) if kind.is_file() => self.look_at_file(&path),
                _ => {}
            }
        }
    }

    fn look_at_file(&mut self, path: &Path) {
        let Ok(meta) = fs::metadata(path) else { return };
        let stamp = (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len());
        if self.files.get(path).is_some_and(|version| version.stamp == stamp) {
            return;
        }
        let Ok(content) = fs::read(path) else { return };
        self.tally.files += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown = path.display().to_string();
        if path.parent().is_some_and(|folder| folder.ends_with(SPIED)) {
            self.tally.commands += 1;
        }
        if is_store(path, &name) {
            self.learn_from_store(&name, &content);
            self.exempt(ByDesign::Store, shown, &content);
        } else {
            // Of a file that has grown the end is enough, with what a piece across the seam needs.
            let before = self.files.get(path).map_or(&[][..], |version| &version.content);
            let from = if content.starts_with(before) { before.len().saturating_sub(LONGEST_SPELLING) } else { 0 };
            self.text(shown, &content[from..]);
        }
        self.files.insert(path.to_owned(), Version { stamp, content });
    }

    /// Learns every key of a store's file, and takes the stamp out of it, which holds none.
    fn learn_from_store(&mut self, name: &str, content: &[u8]) {
        if let Ok(document) = serde_json::from_slice::<Value>(content) {
            self.learn_from_json(name, &document);
            return;
        }
        for line in content.split(|byte| *byte == b'\n') {
            let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (variable, value) = line.split_at(at);
            if variable.starts_with(b"SECRET_KEY_BASE") {
                for key in value[1..].split(|byte| *byte == b',') {
                    self.keys.learn(&format!("a key of {name}"), key);
                }
            }
        }
    }

    /// Learns what `key generate` made: a key as text, or a ring file with a key in it.
    pub(crate) fn learn_generated(&mut self, name: &str, content: &[u8]) {
        match serde_json::from_slice::<Value>(content) {
            Ok(ring @ Value::Object(_)) => self.learn_from_json(name, &ring),
            _ => self.keys.learn(name, content),
        }
    }

    fn learn_from_json(&mut self, name: &str, document: &Value) {
        match document {
            Value::Object(fields) => {
                for (field, value) in fields {
                    match (field.as_str(), value) {
                        ("material" | "salt", Value::String(text)) => {
                            self.keys.learn(&format!("a {field} of {name}"), text.as_bytes());
                        }
                        ("stamp", Value::String(text)) => {
                            if let Ok(stamp) = keyroll_keyring::Secret::from_base64(text.as_bytes()) {
                                self.text(format!("the stamp in {name}"), stamp.expose());
                            }
                        }
                        _ => self.learn_from_json(name, value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_from_json(name, item)),
            _ => {}
        }
    }
}

/// What is watched: a folder with everything below it, and the machine's processes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    /// In the arguments of each process of the application that gets its key as a variable.
    pub(crate) application_with_variables: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Keyroll,
    Application,
    Other,
}

impl Place {
    /// The folder and all that is in it.
    pub(crate) fn below(root: &Path) -> Self {
        let application_with_variables = root.join(variables::NAME).display().to_string();
        Self { root: root.to_owned(), application_with_variables }
    }

    fn role(&self, argv: &[u8], environment: &[u8]) -> Role {
        let root = self.root.as_os_str().as_encoded_bytes();
        if !argv.starts_with(KEYROLL.as_bytes()) || !(contains(environment, root) || contains(argv, root)) {
            Role::Other
        } else if contains(argv, b"\0demo-replica\0") {
            Role::Application
        } else {
            Role::Keyroll
        }
    }

    fn gets_variables(&self, argv: &[u8]) -> bool {
        contains(argv, self.application_with_variables.as_bytes())
    }
}

/// Watches until it is told to stop.
pub(crate) struct Watch {
    place: Place,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(place: Place) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (place, seen, stop) = (place.clone(), Arc::clone(&seen), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    look(&place, &seen);
                    std::thread::park_timeout(CADENCE);
                }
            }
        });
        Self { place, seen, stop, thread: Some(thread) }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }

    pub(crate) fn look_now(&self) {
        look(&self.place, &self.seen);
    }

    /// Looks at a process that was just started, before it can end.
    pub(crate) fn look_at(&self, pid: u32) {
        self.seen().look_at_process(pid, &self.place);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in there was printed; this may itself be an unwinding.
            let _ = thread.join();
        }
    }
}

fn look(place: &Place, seen: &Mutex<Seen>) {
    // The stores first: a candidate that lives for a moment is to be known.
    locked(seen).look_at_files(place);
    // Without `/proc` no process was seen, and the tally says so.
    let _ = locked(seen).look_at_processes(place);
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files in which a store keeps keys, as `docs/reference/file-stores.md` names them, and the file as which the demo's own
/// first key begins.
fn is_store(path: &Path, name: &str) -> bool {
    let in_demo = || path.parent().is_some_and(|folder| folder.to_string_lossy().contains("/keyroll-lab-"));
    let of_store = STORES.iter().any(|store| {
        let hidden = format!(".{store}.keyroll");
        let replacement =
            name.strip_prefix(&hidden).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".tmp"));
        name == *store || name == hidden || replacement
    });
    of_store || (name.starts_with(".tmp") && in_demo())
}

fn contains(text: &[u8], piece: &[u8]) -> bool {
    text.windows(piece.len()).any(|window| window == piece)
}

pub(crate) const KEYROLL: &str = env!("CARGO_BIN_EXE_keyroll");
/// The variable that `--key-env` is told in these tests.
pub(crate) const KEY_VARIABLE: &[u8] = b"LEAKS_OPERATORS_KEY=";
/// Folders of this name hold what the test itself has written for Keyroll to read, and are not searched.
pub(crate) const INPUTS: &str = "inputs";
const STORES: [&str; 2] = ["keys", "shop.env"];
const CADENCE: Duration = Duration::from_millis(20);
/// Sixteen digits, or ten characters of base64 with their neighbours; and room.
const LONGEST_SPELLING: usize = 64;
