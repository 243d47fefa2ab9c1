//! Who may read, what is refused, and what is gone for good.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use keyroll_keyring::{FieldName, Secret};
use rustix::fs::XattrFlags;

use super::super::disk::Call;
use super::script::{Scene, Script, Trouble, WAYS, Way, calls_of};
use crate::Timestamp;
use crate::stores::{FileStore, SecretStore, Stamp, StoreError};

#[tokio::test]
async fn no_file_is_readable_to_more_people_than_the_original_at_any_call() {
    for mode in [0o600, 0o640, 0o440, 0o604] {
        for way in WAYS {
            let scene = Scene::before(way).await;
            std::fs::set_permissions(&scene.path, PermissionsExt::from_mode(mode)).unwrap();
            // The hidden file of an earlier write has the mode of that time.
            let hidden = scene.folder.path().join(".env.keyroll");
            if hidden.exists() {
                std::fs::set_permissions(&hidden, PermissionsExt::from_mode(mode)).unwrap();
            }
            let lock = scene.folder.path().join(".env.keyroll.lock");
            if lock.exists() {
                std::fs::set_permissions(&lock, PermissionsExt::from_mode(mode)).unwrap();
            }
            let folder = scene.folder.path().to_owned();
            let expect = scene.revision().await;
            let look = move || {
                for (name, found) in modes(&folder) {
                    // A new file is the writer's own until it has got the mode of the original.
                    assert_eq!(found & !(mode | 0o600), 0, "`{name}` has mode {found:o}, the original {mode:o}");
                }
            };
            scene.write_after(way, &Script::new(Trouble::Watch(Box::new(look))), &expect).unwrap();
            for (name, found) in modes(scene.folder.path()) {
                assert_eq!(found, mode, "`{name}`");
            }
        }
    }
}

#[tokio::test]
async fn extended_attributes_and_access_lists_are_kept() {
    // On a real file system: memory has no user attributes before Linux 6.6.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "one").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    rustix::fs::setxattr(&path, "user.note", b"keep me", XattrFlags::empty()).unwrap();
    // user::rw- user:12345:r-- group::--- mask::r-- other::---, as the kernel stores it.
    let mut list = vec![2, 0, 0, 0];
    for (tag, permissions, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 12345), (4, 0, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)]
    {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    rustix::fs::setxattr(&path, "system.posix_acl_access", &list, XattrFlags::empty()).unwrap();
    let inode = std::fs::metadata(&path).unwrap().ino();
    let store = FileStore::new(&path, FieldName("content".into()));
    change(&store, "two").await;
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), inode, "it is another file");
    for name in ["key", ".key.keyroll"] {
        let path = folder.path().join(name);
        let attribute = |name: &str| {
            let mut value = vec![0; 200];
            let length = rustix::fs::getxattr(&path, name, &mut value).unwrap();
            value.truncate(length);
            value
        };
        assert_eq!(attribute("user.note"), b"keep me", "{name}");
        assert_eq!(attribute("system.posix_acl_access"), list, "{name}");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640, "{name}");
    }
}

#[tokio::test]
async fn an_access_list_that_the_folder_hands_down_does_not_open_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "one").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    // Default list: user:12345:rwx for every new file in the folder.
    let mut list = vec![2, 0, 0, 0];
    for (tag, id) in [(1_u16, u32::MAX), (2, 12345), (4, u32::MAX), (0x10, u32::MAX), (0x20, u32::MAX)] {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&7_u16.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    rustix::fs::setxattr(folder.path(), "system.posix_acl_default", &list, XattrFlags::empty()).unwrap();
    change(&FileStore::new(&path, FieldName("content".into())), "two").await;
    for name in ["key", ".key.keyroll", ".key.keyroll.lock"] {
        let found = rustix::fs::getxattr(folder.path().join(name), "system.posix_acl_access", &mut [0; 200]);
        assert_eq!(found, Err(rustix::io::Errno::NODATA), "{name}");
    }
}

#[tokio::test]
async fn a_symlink_stays_a_link_and_two_paths_share_one_hidden_file() {
    let scene = Scene::before(Way::Seen).await;
    let other = tempfile::tempdir().unwrap();
    let link = other.path().join("link");
    symlink(&scene.path, &link).unwrap();
    let by_link = FileStore::new(&link, FieldName("content".into()));
    assert_eq!(by_link.read().await.unwrap().document.stamp, Some(Stamp(b"before".to_vec())));
    change(&by_link, "KEY=eeeeeeee\n").await;
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(scene.observed().await.contains("KEY=eeeeeeee"));
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1, "nothing is left beside the link");
}

#[tokio::test]
async fn what_is_no_plain_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), folder.path(), Path::new("/dev/null")] {
        match FileStore::new(path, FieldName("content".into())).read().await {
            Err(StoreError::Corrupt { .. }) => {}
            Err(other) => panic!("{}: {other}", path.display()),
            Ok(_) => panic!("{} was read", path.display()),
        }
    }
}

#[tokio::test]
async fn a_file_with_two_names_is_refused_because_one_would_keep_the_old_key() {
    let scene = Scene::before(Way::Seen).await;
    std::fs::hard_link(&scene.path, scene.folder.path().join("second")).unwrap();
    let mut versioned = scene.store().read().await.unwrap();
    versioned.document.stamp = None;
    let result = scene.store().write(&versioned.document, &versioned.revision).await;
    assert!(matches!(result, Err(StoreError::Refused { .. })));
}

#[tokio::test]
async fn a_hidden_file_that_is_not_as_keyroll_writes_it_stops_everything() {
    type Edit = fn(&str) -> String;
    let edits: [(&str, Edit); 7] = [
        ("version 2", |text| text.replace("\"version\": 1", "\"version\": 2")),
        ("empty", |_| String::new()),
        ("unknown field", |text| text.replace("\"sequence\"", "\"more\": 1,\n  \"sequence\"")),
        ("missing field", |text| text.replace("\"sequence\": 1,", "")),
        ("another format", |text| text.replace("hidden-document", "something")),
        ("no base64", |text| text.replace("\"material\": \"", "\"material\": \"!")),
        ("trailing", |text| format!("{text}x")),
    ];
    for (what, edit) in edits {
        let scene = Scene::before(Way::Seen).await;
        let path = scene.folder.path().join(".env.keyroll");
        let text = std::fs::read_to_string(&path).unwrap();
        let edited = edit(&text);
        assert_ne!(edited, text, "{what}");
        std::fs::write(&path, edited).unwrap();
        let Err(err) = scene.store().read().await else { panic!("{what} was read") };
        assert!(matches!(err, StoreError::Corrupt { .. }), "{what}: {err}");
        assert!(what != "version 2" || err.to_string().contains("newer"), "{err}");
        let shown = format!("{err} {err:?}");
        assert!(!shown.contains("hidden key") && !shown.contains("aGlkZGVuIGtleS"), "{shown}");
        assert!(scene.store().sweep().await.is_err());
    }
    let scene = Scene::before(Way::Seen).await;
    let path = scene.folder.path().join(".env.keyroll");
    std::fs::rename(&path, scene.folder.path().join("moved")).unwrap();
    symlink("moved", &path).unwrap();
    assert!(matches!(scene.store().read().await, Err(StoreError::Corrupt { .. })), "a link in its place");
}

#[tokio::test]
async fn a_replacement_name_that_leads_elsewhere_is_never_followed() {
    let scene = Scene::before(Way::Seen).await;
    let expect = scene.revision().await;
    let calls = calls_of(Way::Seen).await;
    let crash = calls.iter().position(|(call, name)| *call == Call::Exchange && name == "env").unwrap();
    let _ = scene.write_after(Way::Seen, &Script::new(Trouble::Crash(crash)), &expect);
    let path = scene.folder.path().join(".env.keyroll");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find("\"replacement\"").expect("a write is in flight");
    let edited = format!("{}\"replacement\": \"../../victim\"\n  }}\n}}\n", &text[..start]);
    std::fs::write(&path, edited).unwrap();
    assert!(matches!(scene.store().read().await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn a_revision_says_nothing_about_the_key() {
    // The same weak key in two folders: whoever holds one revision can't recognise the other.
    let (one, two) = (Scene::before(Way::Seen).await, Scene::before(Way::Seen).await);
    let (one, two) = (one.revision().await.0, two.revision().await.0);
    assert!(one.starts_with("f1:") && two.starts_with("f1:"));
    assert_ne!(one, two);
}

#[tokio::test]
async fn a_hidden_file_that_came_back_from_a_backup_is_another_revision() {
    let scene = Scene::before(Way::Seen).await;
    let (hidden, backup) = (scene.folder.path().join(".env.keyroll"), scene.folder.path().join("backup"));
    let mut old = scene.store().read().await.unwrap();
    std::fs::copy(&hidden, &backup).unwrap();
    old.document.stamp = Some(Stamp(b"later".to_vec()));
    scene.store().write(&old.document, &old.revision).await.unwrap();
    std::fs::rename(&backup, &hidden).unwrap();
    assert!(scene.observed().await.contains("before"));
    let result = scene.store().write(&old.document, &old.revision).await;
    assert!(matches!(result, Err(StoreError::Conflict { .. })), "a change and its undoing were taken for no change");
}

#[tokio::test]
async fn a_destroyed_key_is_in_no_file_of_the_folder_even_after_a_crash() {
    let gone = Secret::from_text("hidden key 00000002");
    let calls = calls_of(Way::Seen).await.len();
    for crash in 0..=calls {
        let scene = Scene::before(Way::Seen).await;
        assert_eq!(bearers(scene.folder.path(), &gone), [".env.keyroll"]);
        let expect = scene.revision().await;
        let result = scene.write_after(Way::Seen, &Script::new(Trouble::Crash(crash)), &expect);
        let destroyed = !scene.observed().await.contains("k2");
        assert!(destroyed || result.is_err());
        scene.store().sweep().await.unwrap();
        let left = bearers(scene.folder.path(), &gone);
        let residue = scene.store().residue(&[&gone]).await.unwrap();
        if destroyed {
            assert_eq!(left, Vec::<String>::new(), "stopped before call {crash}");
            assert!(residue.is_clean(), "{residue:?}");
        } else {
            assert_eq!(left, [".env.keyroll"], "stopped before call {crash}");
            assert_eq!(residue.found.len(), 1, "{residue:?}");
        }
    }
}

#[tokio::test]
async fn a_copy_that_an_editor_left_is_found_by_the_search() {
    let scene = Scene::before(Way::Seen).await;
    std::fs::copy(&scene.path, scene.folder.path().join("env~")).unwrap();
    let residue = scene.store().residue(&[&Secret::from_text("aaaaaaaa")]).await.unwrap();
    let names: Vec<_> = residue.found.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["env", "env~"]);
}

#[tokio::test]
async fn a_writer_waits_for_the_lock_of_another() {
    let scene = Scene::before(Way::Seen).await;
    let lock = std::fs::File::open(scene.folder.path().join(".env.keyroll.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let store = scene.store();
    let mut versioned = store.read().await.unwrap();
    versioned.document.stamp = None;
    let writer = tokio::spawn(async move { store.write(&versioned.document, &versioned.revision).await });
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        assert!(!writer.is_finished(), "it did not wait");
        // Readers need no lock.
        assert!(scene.observed().await.contains("before"));
    }
    drop(lock);
    writer.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_clock_is_the_file_systems_and_reading_it_leaves_nothing_behind() {
    let fresh = Scene::before(Way::First).await;
    let Timestamp(host) = fresh.store().now().await.unwrap();
    assert!(host > 1_700_000_000_000);
    assert_eq!(std::fs::read_dir(fresh.folder.path()).unwrap().count(), 1);

    let scene = Scene::before(Way::Seen).await;
    let expect = scene.revision().await;
    let Timestamp(now) = scene.store().now().await.unwrap();
    let touched = std::fs::metadata(scene.folder.path().join(".env.keyroll.lock")).unwrap();
    assert_eq!(u128::from(now), touched.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis());
    assert_eq!(scene.revision().await, expect, "asking for the time is no write");
}

#[tokio::test]
async fn a_text_file_keeps_its_final_line_break_and_a_raw_file_every_byte() {
    use crate::stores::FileContent::{Raw, Text};
    for (content, before, read, written) in [
        (Text, &b"one\n"[..], &b"one"[..], &b"two\n"[..]),
        (Text, b"one\r\n", b"one", b"two\r\n"),
        (Text, b"one", b"one", b"two"),
        (Text, b"one\n\n", b"one\n", b"two\n"),
        (Raw, b"one\n", b"one\n", b"two"),
        (Raw, b"\0\xFF", b"\0\xFF", b"two"),
    ] {
        let folder = super::fast_folder();
        let path = folder.path().join("key");
        std::fs::write(&path, before).unwrap();
        let store = FileStore::with_content(&path, FieldName("content".into()), content);
        let found = store.read().await.unwrap().document.fields.0.remove(&FieldName("content".into()));
        assert_eq!(found.unwrap().unwrap().expose(), read);
        change(&store, "two").await;
        assert_eq!(std::fs::read(&path).unwrap(), written);
    }
    let folder = super::fast_folder();
    let path = folder.path().join("key");
    std::fs::write(&path, b"ab\xFF").unwrap();
    let store = FileStore::with_content(&path, FieldName("content".into()), Text);
    let Err(err) = store.read().await else { panic!("bytes were read as text") };
    assert!(err.to_string().contains("byte 3"), "{err}");
}

async fn change(store: &FileStore, value: &str) {
    let mut versioned = store.read().await.unwrap();
    versioned.document.fields.0.insert(FieldName("content".into()), Some(Secret::from_text(value)));
    store.write(&versioned.document, &versioned.revision).await.unwrap();
}

fn modes(folder: &Path) -> Vec<(String, u32)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .filter_map(|entry| {
            let mode = entry.metadata().ok()?.mode() & 0o777;
            Some((entry.file_name().into_string().unwrap(), mode))
        })
        .collect()
}

/// The files of a folder that hold a secret, raw, in hexadecimal or in base64.
fn bearers(folder: &Path, secret: &Secret) -> Vec<String> {
    let secret = secret.expose();
    let needles = [
        secret.to_vec(),
        hex::encode(secret).into_bytes(),
        base64_simd::STANDARD_NO_PAD.encode_to_string(secret).into_bytes(),
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(secret).into_bytes(),
    ];
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        if needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle)) {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}
