//! The application's own source files, against the well-known mistakes of its framework.
//!
//! Keys may stand in the files, so nothing of their content is ever shown: a finding has a place and words of the profile.

use std::path::{Path, PathBuf};

use keyroll_keyring::profile::{Finding, Profile, SourceFile};

/// What was looked at, and what was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Looked {
    /// How many files.
    pub files: usize,
    /// What the profile's lints found. Each loses sessions, or lets them be forged.
    pub findings: Vec<Finding>,
}

/// A folder that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the project's folder `{folder}` can't be read")]
#[non_exhaustive]
pub struct Unreadable {
    /// Which.
    pub folder: String,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// Looks at the files below `folder` that may configure sessions.
pub fn project(profile: &Profile, folder: &Path) -> Result<Looked, Unreadable> {
    let sources = sources(folder)?;
    Ok(Looked { files: sources.len(), findings: profile.lint(&sources) })
}

fn sources(folder: &Path) -> Result<Vec<SourceFile>, Unreadable> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let entries = std::fs::read_dir(&current)
            .map_err(|source| Unreadable { folder: current.display().to_string(), source })?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !is_foreign(&name) => folders.push(path),
                Ok(kind) if kind.is_file() && is_source(&name) => found.extend(read(folder, &path)),
                _ => {}
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn read(folder: &Path, path: &PathBuf) -> Option<SourceFile> {
    let small = std::fs::metadata(path).is_ok_and(|data| data.len() < MOST_BYTES);
    let text = if small { std::fs::read_to_string(path).ok()? } else { return None };
    let path = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
    Some(SourceFile { path, text })
}

/// Folders that hold other people's code, or none.
fn is_foreign(name: &str) -> bool {
    name.starts_with('.') || ["node_modules", "vendor", "tmp", "log", "target", "public"].contains(&name)
}

fn is_source(name: &str) -> bool {
    name == "Gemfile" || name == "requirements.txt" || SOURCE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

const SOURCE_ENDINGS: &[&str] =
    &[".rb", ".ru", ".yml", ".yaml", ".erb", ".py", ".toml", ".js", ".ts", ".mjs", ".cjs", ".json", ".env"];
const MOST_BYTES: u64 = 512 * 1024;
