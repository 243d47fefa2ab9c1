//! Where the key lives.

use serde::Serialize;

use super::FilePath;

/// One store.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum StoreSpec {
    /// Environment variables in a file.
    EnvFile {
        /// Which file.
        path: FilePath,
        /// Who reads it, which decides how values are quoted.
        dialect: Dialect,
    },
    /// A file whose whole content is the key.
    File {
        /// Which file.
        path: FilePath,
        /// What its content is.
        content: FileContent,
    },
}

/// How values are quoted in an environment file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Dialect {
    /// dotenv libraries and Compose.
    #[default]
    Dotenv,
    /// `EnvironmentFile=` of systemd.
    Systemd,
}

/// What a key file holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_enums, reason = "a file holds text or bytes")]
pub enum FileContent {
    /// Text in the profile's encoding.
    #[default]
    Text,
    /// The key's bytes as they are.
    Bytes,
}
