//! Other people's writes at every single call: none is overwritten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use keyroll_keyring::{FieldName, Secret};

use super::super::disk::Call;
use super::script::{Scene, Script, Trouble, WAYS, Way, after, calls_of, line};
use crate::stores::{SecretStore, Stamp, StoreError};

const FOREIGN: &str = "# an admin was here\nKEY=cccccccc\nSIBLING='t'\n";

#[tokio::test]
async fn a_file_renamed_over_ours_at_any_call_stays() {
    foreign_write_at_every_call(|path| Scene::rename_over(path, FOREIGN)).await;
}

#[tokio::test]
async fn a_write_in_place_at_any_call_stays() {
    foreign_write_at_every_call(|path| std::fs::write(path, FOREIGN).unwrap()).await;
}

async fn foreign_write_at_every_call(write: fn(&std::path::Path)) {
    for way in WAYS {
        let calls = calls_of(way).await;
        for (at, call) in calls.iter().enumerate() {
            let scene = Scene::before(way).await;
            let hidden_before = hidden_part(&scene.observed().await);
            let expect = scene.revision().await;
            let path = scene.path.clone();
            let script = Script::new(Trouble::Meanwhile(at, Box::new(move || write(&path))));
            let result = scene.write_after(way, &script, &expect);
            assert_eq!(scene.main(), FOREIGN, "{way:?}, before {call:?}: another's write was overwritten");
            let found = hidden_part(&scene.observed().await);
            match result {
                Err(StoreError::Conflict { .. }) => assert_eq!(found, hidden_before, "{way:?}, before {call:?}"),
                // It came after our own write, which it has replaced; or applications do not see what we wrote.
                Ok(revision) => {
                    assert_eq!(found, hidden_part(&line(&after(way))), "{way:?}, before {call:?}");
                    assert_ne!(scene.revision().await, revision, "the other write must be noticed by the next one");
                }
                Err(other) => panic!("{way:?}, before {call:?}: {other}"),
            }
            scene.store().sweep().await.unwrap();
            assert_eq!(scene.main(), FOREIGN, "{way:?}, before {call:?}: a sweep has overwritten another's write");
            assert_eq!(hidden_part(&scene.observed().await), found);
            assert_eq!(scene.temporaries(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn another_write_and_then_a_crash_at_any_later_call_loses_nothing() {
    for way in [Way::First, Way::Seen] {
        let calls = calls_of(way).await.len();
        for at in 0..calls {
            for crash in at + 1..=calls + 12 {
                let scene = Scene::before(way).await;
                let expect = scene.revision().await;
                let path = scene.path.clone();
                let act = Box::new(move || Scene::rename_over(&path, FOREIGN));
                let script = Script::new(Trouble::MeanwhileThenCrash(at, act, crash));
                let _ = scene.write_after(way, &script, &expect);
                let found = scene.observed().await;
                assert!(found.contains("cccccccc"), "{way:?}, {at}, {crash}: {found}");
                scene.store().sweep().await.unwrap();
                assert_eq!(scene.main(), FOREIGN, "{way:?}: written before call {at}, stopped before {crash}");
                assert_eq!(scene.observed().await, found, "{way:?}, {at}, {crash}");
                assert_eq!(scene.temporaries(), Vec::<String>::new());
            }
        }
    }
}

/// What can't be promised, shown: the file was opened before the exchange and written to after the last look at it.
#[tokio::test]
async fn a_write_in_place_through_an_old_descriptor_is_seen_until_the_last_look() {
    use std::io::{Seek, Write};
    let calls = calls_of(Way::Seen).await;
    let last_look = calls.iter().rposition(|(call, name)| *call == Call::Look && name.ends_with(".main.tmp")).unwrap();
    for (at, call) in calls.iter().enumerate() {
        let scene = Scene::before(Way::Seen).await;
        let expect = scene.revision().await;
        let file = std::fs::OpenOptions::new().write(true).open(&scene.path).unwrap();
        let act = Box::new(move || {
            let mut file = &file;
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(FOREIGN.as_bytes()).unwrap();
        });
        let result = scene.write_after(Way::Seen, &Script::new(Trouble::Meanwhile(at, act)), &expect);
        if at <= last_look {
            assert_eq!(scene.main(), FOREIGN, "before {call:?}");
            assert!(matches!(result, Err(StoreError::Conflict { .. })), "before {call:?}");
        } else {
            assert_eq!(scene.observed().await, line(&after(Way::Seen)), "before {call:?}");
        }
    }
}

#[tokio::test]
async fn a_link_that_is_pointed_elsewhere_at_any_call_takes_no_file_with_it() {
    let calls = calls_of(Way::Seen).await;
    for (at, call) in calls.iter().enumerate() {
        let mut scene = Scene::before(Way::Seen).await;
        let expect = scene.revision().await;
        let before = scene.main();
        let real = scene.path.clone();
        let elsewhere = scene.folder.path().join("elsewhere");
        std::fs::write(&elsewhere, FOREIGN).unwrap();
        scene.path = scene.folder.path().join("link");
        std::os::unix::fs::symlink("env", &scene.path).unwrap();
        let (link, to) = (scene.path.clone(), elsewhere.clone());
        let act = Box::new(move || {
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(&to, &link).unwrap();
        });
        let result = scene.write_after(Way::Seen, &Script::new(Trouble::Meanwhile(at, act)), &expect);
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), FOREIGN);
        match result {
            Err(StoreError::Conflict { .. }) => {
                assert_eq!(std::fs::read_to_string(&real).unwrap(), before, "before {call:?}");
            }
            Ok(_) => assert_ne!(std::fs::read_to_string(&real).unwrap(), before, "before {call:?}"),
            Err(other) => panic!("before {call:?}: {other}"),
        }
    }
}

#[tokio::test]
async fn two_versions_of_others_after_a_crash_are_for_a_person_to_choose() {
    let calls = calls_of(Way::Seen).await;
    let exchange = calls.iter().position(|(call, name)| *call == Call::Exchange && name == "env").unwrap();
    let scene = Scene::before(Way::Seen).await;
    let expect = scene.revision().await;
    let path = scene.path.clone();
    let act = Box::new(move || Scene::rename_over(&path, FOREIGN));
    let script = Script::new(Trouble::MeanwhileThenCrash(exchange, act, exchange + 1));
    scene.write_after(Way::Seen, &script, &expect).unwrap_err();
    // Ours is in place, the admin's lies under the replacement's name; and now a second admin comes.
    Scene::rename_over(&scene.path, "KEY=dddddddd\n");
    let Err(err) = scene.store().read().await else { panic!("nobody can know which of the two is right") };
    let text = err.to_string();
    assert!(
        matches!(err, StoreError::Corrupt { .. }) && text.contains(".main.tmp") && !text.contains("dddd"),
        "{text}"
    );
    assert!(scene.store().sweep().await.is_err());
    let kept = scene.temporaries().into_iter().find(|name| name.contains(".main.")).unwrap();
    assert_eq!(std::fs::read_to_string(scene.folder.path().join(&kept)).unwrap(), FOREIGN);
    // The person decides by removing one.
    std::fs::remove_file(scene.folder.path().join(kept)).unwrap();
    assert!(scene.observed().await.contains("dddddddd"));
    scene.store().sweep().await.unwrap();
    assert_eq!(scene.temporaries(), Vec::<String>::new());
}

#[tokio::test]
async fn where_files_cannot_be_exchanged_a_change_before_the_last_look_is_still_seen() {
    let scene = Scene::before(Way::Seen).await;
    let expect = scene.revision().await;
    Scene::rename_over(&scene.path, FOREIGN);
    let result = scene.write_after(Way::Seen, &Script::new(Trouble::NoExchange(usize::MAX)), &expect);
    assert!(matches!(result, Err(StoreError::Conflict { .. })));
    assert_eq!(scene.main(), FOREIGN);
}

/// Another Keyroll that our lock does not keep out, as on a network file system without locks.
#[tokio::test]
async fn a_hidden_file_that_another_puts_in_place_before_ours_stays() {
    for way in WAYS {
        let calls = calls_of(way).await;
        let ours = calls.iter().position(|(_, name)| name == ".env.keyroll").unwrap();
        for (at, call) in calls.iter().enumerate().take(ours + 1) {
            let scene = Scene::before(way).await;
            let main = scene.main();
            // A hidden file as the other one writes it; it holds a candidate that exists nowhere else.
            let theirs = Scene::before(Way::Seen).await;
            let content = std::fs::read_to_string(theirs.folder.path().join(".env.keyroll")).unwrap();
            let expect = scene.revision().await;
            let hidden = scene.folder.path().join(".env.keyroll");
            let path = hidden.clone();
            let act = Box::new({
                let content = content.clone();
                move || Scene::rename_over(&path, &content)
            });
            let result = scene.write_after(way, &Script::new(Trouble::Meanwhile(at, act)), &expect);
            assert!(matches!(result, Err(StoreError::Conflict { .. })), "{way:?}, before {call:?}");
            assert_eq!(std::fs::read_to_string(hidden).unwrap(), content, "{way:?}, before {call:?}");
            assert_eq!(scene.main(), main);
        }
    }
}

/// Real threads: in each round somebody renames a file over ours at a moment of chance, while Keyroll writes.
#[tokio::test]
async fn under_real_races_no_write_of_another_is_lost() {
    let scene = Scene::before(Way::Seen).await;
    let (mut wins, mut conflicts) = (0, 0);
    for round in 0..400_u32 {
        let expect = scene.revision().await;
        let start = Arc::new(Barrier::new(2));
        let (path, go) = (scene.path.clone(), Arc::clone(&start));
        let content = format!("KEY=aaaaaaaa\nROUND={round}\n");
        let expected = content.clone();
        let other = std::thread::spawn(move || {
            let file = path.with_file_name("editor");
            std::fs::write(&file, content).unwrap();
            go.wait();
            // Moments from before the first call to after the last.
            (0..round * 37 % 1500).for_each(|_| std::hint::spin_loop());
            (0..round % 40).for_each(|_| drop(std::fs::metadata(&path)));
            std::fs::rename(file, &path).unwrap();
        });
        start.wait();
        match scene.write_after(Way::Seen, &Script::new(Trouble::Nothing), &expect) {
            Ok(_) => wins += 1,
            Err(StoreError::Conflict { .. }) => conflicts += 1,
            Err(err) => panic!("{err}"),
        }
        other.join().unwrap();
        assert_eq!(scene.main(), expected, "another's write was overwritten");
    }
    println!("{wins} writes came first and were replaced, {conflicts} came second and gave way");
    assert_eq!(wins + conflicts, 400);
    assert_eq!(scene.temporaries(), Vec::<String>::new());
}

/// Nobody who reads through the store ever sees half of a write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_during_writes_sees_one_document_or_the_other() {
    let scene = Scene::before(Way::Seen).await;
    let (store, stop) = (scene.store(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let reader = tokio::spawn(async move {
        let mut reads = 0;
        while !stopped.load(Ordering::Relaxed) || reads == 0 {
            let document = store.read().await.unwrap().document;
            let line = line(&document);
            // The stamp tells which fields belong to it.
            if let Some(stamp) = document.stamp
                && stamp.0 != b"before"
            {
                let stamp = String::from_utf8(stamp.0).unwrap();
                assert!(line.contains(&format!("KEY={stamp}")), "{line}");
            }
            reads += 1;
        }
        reads
    });
    for round in 0..200_u32 {
        let mut versioned = scene.store().read().await.unwrap();
        let value = format!("value{round:03}");
        versioned.document.stamp = Some(Stamp(value.clone().into_bytes()));
        versioned.document.fields.0.insert(FieldName("KEY".into()), Some(Secret::from_text(&value)));
        scene.store().write(&versioned.document, &versioned.revision).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    println!("{} readings during 200 writes", reader.await.unwrap());
}

/// All but the fields.
fn hidden_part(line: &str) -> String {
    line[line.find("pending").unwrap()..].to_owned()
}
