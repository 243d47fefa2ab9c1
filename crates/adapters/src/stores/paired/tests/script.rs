//! A scripted disk, and documents that can be told apart at a glance.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use keyroll_keyring::{FieldName, Fields, KeyId, Secret};
use rustix::io::Errno;
use tempfile::TempDir;

use super::super::Paired;
use super::super::disk::{Call, Faults};
use super::super::hidden::State;
use super::{fast_folder, temporaries};
use crate::stores::env_file::{EnvDialect, Variables};
use crate::stores::{Document, EnvFileStore, HiddenKey, Revision, SecretStore, Stamp, StoreError};

/// What happens at one call; the calls are counted from 0.
pub(super) enum Trouble {
    Nothing,
    /// The process dies before the call: nothing after it happens either.
    Crash(usize),
    /// This one call fails.
    Fail(usize, Errno),
    /// Every exchange of two names fails, as on a file system that can't; and the process dies before a call.
    NoExchange(usize),
    /// Somebody does something just before the call.
    Meanwhile(usize, Box<dyn Fn() + Send + Sync>),
    /// And then the process dies at a later call.
    MeanwhileThenCrash(usize, Box<dyn Fn() + Send + Sync>, usize),
    /// Looks at the folder before every call.
    Watch(Box<dyn Fn() + Send + Sync>),
}

pub(super) struct Script {
    trouble: Trouble,
    calls: Mutex<Vec<(Call, String)>>,
}

impl Script {
    pub(super) fn new(trouble: Trouble) -> Arc<Self> {
        Arc::new(Self { trouble, calls: Mutex::default() })
    }

    pub(super) fn calls(&self) -> Vec<(Call, String)> {
        self.calls.lock().unwrap().clone()
    }
}

impl Faults for Script {
    fn before(&self, call: Call, name: &OsStr) -> io::Result<()> {
        let now = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((call, name.display().to_string()));
            calls.len() - 1
        };
        let died = || Err(io::Error::other("the process has died"));
        match &self.trouble {
            Trouble::Crash(at) if now >= *at => died(),
            Trouble::Fail(at, errno) if now == *at => Err((*errno).into()),
            Trouble::NoExchange(crash) if now >= *crash => died(),
            Trouble::NoExchange(_) if call == Call::Exchange => Err(Errno::INVAL.into()),
            Trouble::MeanwhileThenCrash(_, _, crash) if now >= *crash => died(),
            Trouble::Meanwhile(at, act) | Trouble::MeanwhileThenCrash(at, act, _) if now == *at => {
                act();
                Ok(())
            }
            Trouble::Watch(look) => {
                look();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// An env file in a folder of its own, and documents to write into it.
pub(super) struct Scene {
    pub(super) folder: TempDir,
    pub(super) path: PathBuf,
}

/// The kinds of write that take different ways through the code.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// The first write ever, seen by applications.
    First,
    /// A write that applications see.
    Seen,
    /// The first write ever, hidden.
    FirstHidden,
    /// A write of the hidden file alone.
    Hidden,
}

pub(super) const WAYS: [Way; 4] = [Way::First, Way::Seen, Way::FirstHidden, Way::Hidden];

impl Scene {
    /// The file as it is before the write, together with what the store says about it.
    pub(super) async fn before(way: Way) -> Self {
        let folder = fast_folder();
        let path = folder.path().join("env");
        std::fs::write(&path, "# first\nKEY=aaaaaaaa\nSIBLING='s'\n").unwrap();
        let scene = Self { folder, path };
        if matches!(way, Way::Seen | Way::Hidden) {
            let mut versioned = scene.store().read().await.unwrap();
            versioned.document.pending = vec![key(2)];
            versioned.document.stamp = Some(Stamp(b"before".to_vec()));
            scene.store().write(&versioned.document, &versioned.revision).await.unwrap();
        }
        scene
    }

    pub(super) fn store(&self) -> EnvFileStore {
        EnvFileStore::new(&self.path, fields())
    }

    /// Writes the document after, through a scripted disk.
    pub(super) fn write_after(
        &self,
        way: Way,
        script: &Arc<Script>,
        expect: &Revision,
    ) -> Result<Revision, StoreError> {
        let document = after(way);
        self.scripted(script).commit(&document.fields, State::of(&document), expect)
    }

    pub(super) fn scripted(&self, script: &Arc<Script>) -> Paired<Variables> {
        let faults = Arc::clone(script) as Arc<dyn Faults>;
        let variables = Variables { fields: fields(), dialect: EnvDialect::Common };
        Paired::with_faults(self.path.clone(), variables, faults)
    }

    pub(super) async fn revision(&self) -> Revision {
        self.store().read().await.unwrap().revision
    }

    /// Everything that the store says, in one line.
    pub(super) async fn observed(&self) -> String {
        line(&self.store().read().await.unwrap().document)
    }

    pub(super) fn main(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    pub(super) fn temporaries(&self) -> Vec<String> {
        temporaries(&self.folder)
    }

    /// Another writer, who makes a new file and renames it over the old one.
    pub(super) fn rename_over(path: &Path, content: &str) {
        let other = path.with_file_name("editor");
        std::fs::write(&other, content).unwrap();
        std::fs::rename(other, path).unwrap();
    }
}

/// The document that is written in each way.
pub(super) fn after(way: Way) -> Document {
    let seen = matches!(way, Way::First | Way::Seen);
    let (now, old) = if seen { ("bbbbbbbb", Some("aaaaaaaa")) } else { ("aaaaaaaa", None) };
    Document {
        fields: Fields(
            [
                (FieldName("KEY".into()), Some(Secret::from_text(now))),
                (FieldName("OLD".into()), old.map(Secret::from_text)),
            ]
            .into(),
        ),
        pending: Vec::new(),
        escrow: vec![key(9)],
        stamp: Some(Stamp(b"after".to_vec())),
    }
}

pub(super) fn line(document: &Document) -> String {
    let fields: Vec<_> = document
        .fields
        .0
        .iter()
        .map(|(name, value)| {
            let value = value.as_ref().map_or("-", |value| std::str::from_utf8(value.expose()).unwrap());
            format!("{}={value}", name.0)
        })
        .collect();
    let ids = |keys: &[HiddenKey]| keys.iter().map(|key| key.id.to_string()).collect::<Vec<_>>();
    let stamp = document.stamp.as_ref().map(|stamp| String::from_utf8_lossy(&stamp.0).into_owned());
    format!("{fields:?} pending {:?} escrow {:?} stamp {stamp:?}", ids(&document.pending), ids(&document.escrow))
}

/// How many calls a write makes, with their names.
pub(super) async fn calls_of(way: Way) -> Vec<(Call, String)> {
    let scene = Scene::before(way).await;
    let script = Script::new(Trouble::Nothing);
    let expect = scene.revision().await;
    scene.write_after(way, &script, &expect).unwrap();
    script.calls()
}

fn fields() -> Vec<FieldName> {
    vec![FieldName("KEY".into()), FieldName("OLD".into())]
}

fn key(id: u32) -> HiddenKey {
    HiddenKey {
        id: KeyId(id),
        rotation: format!("r-{id}"),
        parts: vec![("main".into(), Secret::from_text(&format!("hidden key {id:08}")))],
        destroy_after: None,
    }
}
