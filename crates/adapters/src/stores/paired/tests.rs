//! The contract on both kinds of file, and every crash, failure and foreign write at every step.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use keyroll_keyring::{FieldName, Secret};
use tempfile::TempDir;

use crate::stores::conformance::{self, Absence, Fixture};
use crate::stores::{EnvFileStore, FileContent, FileStore, SecretStore};

#[expect(clippy::print_stdout, reason = "`--nocapture` shows how much was tried")]
mod crashes;
#[expect(clippy::print_stdout, reason = "`--nocapture` shows how much was tried")]
mod foreign;
mod guards;
mod script;

#[tokio::test]
async fn an_env_file_keeps_the_store_contract() {
    conformance::run_all(Env::fresh).await;
}

#[tokio::test]
async fn a_plain_file_keeps_the_store_contract() {
    conformance::run_all(Plain::fresh).await;
}

struct Env {
    folder: TempDir,
    path: PathBuf,
}

impl Env {
    async fn fresh() -> Self {
        let folder = fast_folder();
        let path = folder.path().join("shop.env");
        let first = conformance::first_value();
        let first = std::str::from_utf8(first.expose()).unwrap();
        let text =
            format!("# the shop\nexport NAME='it is'\r\n\nSECRET_KEY_BASE=\"{first}\"\n# end\nPORT=80 \n\nLAST=1");
        std::fs::write(&path, text).unwrap();
        Self { folder, path }
    }

    fn fields() -> Vec<FieldName> {
        vec![FieldName("SECRET_KEY_BASE".into()), FieldName("SECRET_KEY_BASE_OLD".into())]
    }
}

#[async_trait]
impl Fixture for Env {
    fn open(&self) -> Arc<dyn SecretStore> {
        Arc::new(EnvFileStore::new(&self.path, Self::fields()))
    }

    fn absence(&self) -> Absence {
        Absence::Possible
    }

    async fn seen_by_applications(&self) -> Secret {
        Secret::from_bytes(std::fs::read(&self.path).unwrap())
    }

    async fn siblings(&self) -> Secret {
        let text = std::fs::read_to_string(&self.path).unwrap();
        Secret::from_text(
            &text.split_inclusive('\n').filter(|line| !line.starts_with("SECRET_KEY_BASE")).collect::<String>(),
        )
    }

    async fn change_a_sibling(&self) {
        let text = std::fs::read_to_string(&self.path).unwrap();
        std::fs::write(&self.path, text.replace("PORT=8", "PORT=88")).unwrap();
    }

    async fn write_from_outside(&self, field: &FieldName, value: &Secret) {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let value = std::str::from_utf8(value.expose()).unwrap();
        let start = format!("{}=", field.0);
        let lines = text.split_inclusive('\n').map(|line| match line.strip_prefix(&start) {
            Some(_) => format!("{start}{value}\n"),
            None => line.to_owned(),
        });
        std::fs::write(&self.path, lines.collect::<String>()).unwrap();
    }

    async fn damage(&self) {
        damage(&self.folder.path().join(".shop.env.keyroll"));
    }

    async fn delete(&self) {
        std::fs::remove_file(&self.path).unwrap();
    }

    async fn litter(&self) {
        litter(&self.folder, "shop.env");
    }

    async fn lying_about(&self) -> Vec<String> {
        temporaries(&self.folder)
    }
}

struct Plain {
    folder: TempDir,
    path: PathBuf,
}

impl Plain {
    async fn fresh() -> Self {
        let folder = fast_folder();
        let path = folder.path().join("key");
        let mut bytes = conformance::first_value().expose().to_vec();
        bytes.push(b'\n');
        std::fs::write(&path, bytes).unwrap();
        Self { folder, path }
    }
}

#[async_trait]
impl Fixture for Plain {
    fn open(&self) -> Arc<dyn SecretStore> {
        Arc::new(FileStore::with_content(&self.path, FieldName("content".into()), FileContent::Text))
    }

    fn absence(&self) -> Absence {
        Absence::Refused
    }

    async fn seen_by_applications(&self) -> Secret {
        Secret::from_bytes(std::fs::read(&self.path).unwrap())
    }

    async fn siblings(&self) -> Secret {
        Secret::from_text("")
    }

    async fn change_a_sibling(&self) {}

    async fn write_from_outside(&self, _: &FieldName, value: &Secret) {
        // As an editor does it: another file takes the place of this one.
        let other = self.folder.path().join("other");
        let mut bytes = value.expose().to_vec();
        bytes.push(b'\n');
        std::fs::write(&other, bytes).unwrap();
        std::fs::rename(other, &self.path).unwrap();
    }

    async fn damage(&self) {
        damage(&self.folder.path().join(".key.keyroll"));
    }

    async fn delete(&self) {
        std::fs::remove_file(&self.path).unwrap();
    }

    async fn litter(&self) {
        litter(&self.folder, "key");
    }

    async fn lying_about(&self) -> Vec<String> {
        temporaries(&self.folder)
    }
}

/// A folder in memory where there is one: these tests sync thousands of times.
fn fast_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn damage(path: &std::path::Path) {
    let text = std::fs::read(path).unwrap();
    std::fs::write(path, &text[..text.len() / 2]).unwrap();
}

fn litter(folder: &TempDir, name: &str) {
    for of in ["main", "next", "settled"] {
        std::fs::write(folder.path().join(format!(".{name}.keyroll.0123456789abcdef.{of}.tmp")), "half a ke").unwrap();
    }
}

fn temporaries(folder: &TempDir) -> Vec<String> {
    let names = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".tmp"));
    names
}
