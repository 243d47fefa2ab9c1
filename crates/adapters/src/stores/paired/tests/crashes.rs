//! A crash or a failure before every single call: the document is as before or as after, and a sweep leaves no trace.

use rustix::io::Errno;

use super::super::disk::Call;
use super::script::{Scene, Script, Trouble, WAYS, after, calls_of, line};
use crate::stores::{SecretStore, StoreError};

#[tokio::test]
async fn a_crash_at_any_call_leaves_the_document_before_or_after() {
    let mut stops = 0;
    for way in WAYS {
        let calls = calls_of(way).await;
        let mut happened = false;
        for at in 0..=calls.len() {
            let scene = Scene::before(way).await;
            let before = scene.observed().await;
            let main = scene.main();
            let expect = scene.revision().await;
            let result = scene.write_after(way, &Script::new(Trouble::Crash(at)), &expect);
            assert_eq!(result.is_ok(), at == calls.len(), "{way:?}, {at}");
            let found = scene.observed().await;
            let is_after = found == line(&after(way));
            assert!(is_after || found == before, "{way:?}, stopped before {:?}: {found}", calls.get(at));
            assert!(is_after || !happened, "{way:?}: what was written is gone before {:?}", calls.get(at));
            assert!(is_after || scene.main() == main, "{way:?}: applications see a write that did not happen");
            if let Err(err) = result {
                assert!(!is_after || matches!(err, StoreError::Uncertain { .. }), "{way:?}, {:?}: {err}", calls[at]);
            }
            happened = is_after;
            stops += 1;

            // Nobody needs to sweep before the next write.
            let mut next = scene.store().read().await.unwrap();
            assert_eq!(scene.store().sweep().await.map(drop).map_err(|err| err.to_string()), Ok(()));
            assert_eq!(scene.observed().await, found, "{way:?}: a sweep has changed the document");
            assert_eq!(scene.temporaries(), Vec::<String>::new(), "{way:?}: stopped before {:?}", calls.get(at));
            next = scene.store().read().await.unwrap_or(next);
            next.document.stamp = None;
            scene.store().write(&next.document, &next.revision).await.unwrap();
        }
        assert!(happened, "the last stop is after the write");
    }
    println!("stopped at {stops} places");
}

#[tokio::test]
async fn the_write_after_a_crash_needs_no_sweep_and_no_second_read() {
    for way in WAYS {
        for at in 0..calls_of(way).await.len() {
            let scene = Scene::before(way).await;
            let expect = scene.revision().await;
            scene.write_after(way, &Script::new(Trouble::Crash(at)), &expect).unwrap_err();
            let mut found = scene.store().read().await.unwrap();
            found.document.stamp = None;
            scene.store().write(&found.document, &found.revision).await.unwrap();
            assert_eq!(scene.observed().await, line(&found.document), "{way:?}, {at}");
        }
    }
}

#[tokio::test]
async fn a_crash_of_the_sweep_after_a_crash_changes_nothing_either() {
    let mut stops = 0;
    for way in WAYS {
        for at in 0..calls_of(way).await.len() {
            for again in 0.. {
                let scene = Scene::before(way).await;
                let expect = scene.revision().await;
                scene.write_after(way, &Script::new(Trouble::Crash(at)), &expect).unwrap_err();
                let found = scene.observed().await;
                let swept = scene.scripted(&Script::new(Trouble::Crash(again))).sweep_now();
                assert_eq!(scene.observed().await, found, "{way:?}, stopped at {at} and in the sweep at {again}");
                stops += 1;
                if swept.is_ok() {
                    assert_eq!(scene.temporaries(), Vec::<String>::new());
                    break;
                }
            }
        }
    }
    println!("stopped twice at {stops} pairs of places");
}

#[tokio::test]
async fn a_call_that_fails_is_reported_and_leaves_the_document_before_or_after() {
    for errno in [Errno::NOSPC, Errno::IO, Errno::ACCESS] {
        for way in WAYS {
            let calls = calls_of(way).await;
            for (at, call) in calls.iter().enumerate() {
                let scene = Scene::before(way).await;
                let before = scene.observed().await;
                let expect = scene.revision().await;
                let result = scene.write_after(way, &Script::new(Trouble::Fail(at, errno)), &expect);
                let found = scene.observed().await;
                match result {
                    Err(StoreError::Uncertain { .. }) => {
                        assert!(found == before || found == line(&after(way)), "{way:?}, {call:?}: {found}");
                    }
                    Err(StoreError::Unwritable { .. } | StoreError::Denied { .. }) => {
                        assert_eq!(found, before, "{way:?}, {call:?}");
                    }
                    Err(other) => panic!("{way:?}, {call:?}: {other}"),
                    Ok(_) => panic!("{way:?}: {call:?} failed, and nobody heard of it"),
                }
                scene.store().sweep().await.unwrap();
                assert_eq!(scene.observed().await, found, "{way:?}, {call:?}");
                assert_eq!(scene.temporaries(), Vec::<String>::new(), "{way:?}, {call:?}");
            }
        }
    }
}

#[tokio::test]
async fn all_bytes_are_on_disk_before_the_first_name_changes_hands() {
    for way in WAYS {
        let calls: Vec<_> = calls_of(way).await.into_iter().map(|(call, _)| call).collect();
        let first_rename = calls.iter().position(|call| matches!(call, Call::RenameNew | Call::Exchange)).unwrap();
        let last_write =
            calls.iter().rposition(|call| matches!(call, Call::Write | Call::Sync | Call::Create)).unwrap();
        assert!(last_write < first_rename, "{way:?}: {calls:?}");
    }
}

#[tokio::test]
async fn the_order_of_the_two_files_is_as_documented() {
    let calls = calls_of(super::script::Way::Seen).await;
    let order: Vec<_> = calls
        .iter()
        .filter(|(call, _)| matches!(call, Call::Exchange | Call::SyncFolder | Call::Unlink))
        .map(|(call, name)| match (call, name.as_str()) {
            (Call::Exchange, ".env.keyroll") => "hidden",
            (Call::Exchange, "env") => "main",
            (Call::SyncFolder, _) => "sync",
            (Call::Unlink, _) => "unlink",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, ["hidden", "sync", "main", "sync", "hidden", "sync", "unlink", "unlink", "unlink", "sync"]);
}

#[tokio::test]
async fn where_files_cannot_be_exchanged_a_write_still_works_and_a_crash_is_before_or_after() {
    for way in WAYS {
        let scene = Scene::before(way).await;
        let expect = scene.revision().await;
        let script = Script::new(Trouble::NoExchange(usize::MAX));
        let revision = scene.write_after(way, &script, &expect).unwrap();
        assert_eq!(scene.observed().await, line(&after(way)));
        assert_eq!(scene.revision().await, revision);
        assert_eq!(scene.temporaries(), Vec::<String>::new());
        let mut happened = false;
        for at in 0..script.calls().len() {
            let scene = Scene::before(way).await;
            let (before, expect) = (scene.observed().await, scene.revision().await);
            scene.write_after(way, &Script::new(Trouble::NoExchange(at)), &expect).unwrap_err();
            let found = scene.observed().await;
            let is_after = found == line(&after(way));
            assert!(is_after || (found == before && !happened), "{way:?}, stopped before call {at}: {found}");
            happened = is_after;
            scene.scripted(&Script::new(Trouble::NoExchange(usize::MAX))).sweep_now().unwrap();
            assert_eq!(scene.observed().await, found, "{way:?}, {at}: a sweep has changed the document");
            assert_eq!(scene.temporaries(), Vec::<String>::new());
        }
        assert!(happened, "the last stop is after the write");
    }
}
