//! Both dialects, by table and by random files.

use keyroll_keyring::{FieldName, Secret};

use crate::stores::{EnvFileStore, SecretStore};

#[tokio::test]
async fn a_variable_is_rewritten_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    std::fs::write(&path, "# hello\nexport A='one'\r\nB=\"x y\" # note\nKEY = old\n\nC=3").unwrap();
    let store = EnvFileStore::with_dialect(
        &path,
        vec![FieldName("KEY".into()), FieldName("KEY_OLD".into())],
        crate::stores::EnvDialect::Dotenv,
    );
    let mut read = store.read().await.unwrap();
    assert_eq!(read.document.fields.0[&FieldName("KEY".into())].as_ref().unwrap().expose(), b"old");
    read.document.fields.0.insert(FieldName("KEY".into()), Some(Secret::from_text("new $x")));
    read.document.fields.0.insert(FieldName("KEY_OLD".into()), Some(Secret::from_text("old")));
    let revision = store.write(&read.document, &read.revision).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "# hello\nexport A='one'\r\nB=\"x y\" # note\nKEY = 'new $x'\nKEY_OLD=old\n\nC=3"
    );
    assert_eq!(store.read().await.unwrap().revision, revision);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}
