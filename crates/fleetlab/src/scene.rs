//! Where a run takes place: a folder of its own, free ports, the first keys, the command line of each replica, and the
//! `keyroll.yaml` that an operator would write for it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyroll_keyring::{Key, KeyId, Secret};
use serde_json::json;

use crate::ports::{Ports, PortsError};
use crate::replica::{self, Args, KeysError, Mode};

/// How an operator of a scene describes it to Keyroll.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// The key's name.
    pub name: &'a str,
    /// What starts a replica, together with the subcommand.
    pub program: &'a Path,
    /// The word before a replica's options.
    pub subcommand: &'a str,
    /// How long the old key is kept after a rotation, as the file writes it: `1h`.
    pub escrow: &'a str,
}

/// A prepared scene. The folder goes when it is dropped.
#[derive(Debug)]
pub struct Scene {
    folder: tempfile::TempDir,
    mode: Mode,
    ports: Ports,
    lifetime: Duration,
}

/// What to prepare.
#[derive(Clone, Copy, Debug)]
pub struct SceneOptions {
    /// Which application.
    pub mode: Mode,
    /// How many replicas of it.
    pub replicas: u32,
    /// How long its sessions live.
    pub lifetime: Duration,
}

impl Scene {
    /// Makes the folder, looks for free ports and writes a first key. Nothing is started.
    pub fn prepare(options: SceneOptions) -> Result<(Self, Key), SceneError> {
        let folder = tempfile::Builder::new().prefix("keyroll-lab-").tempdir().map_err(SceneError::Folder)?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).map_err(SceneError::Folder)?;
        let ports = Ports::claim(options.replicas)?;
        let scene = Self { folder, mode: options.mode, ports, lifetime: options.lifetime };
        fs::create_dir(scene.rows()).map_err(SceneError::Folder)?;
        let key = replica::generate(options.mode, KeyId(1))?;
        scene.write_keys(&replica::render(options.mode, &key, None)?)?;
        Ok((scene, key))
    }

    /// The application.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How long its sessions live.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Its own folder, for whatever else the run needs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The key file that all replicas read.
    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Where a replica's standard error goes, if the supervisor sends it there.
    pub fn log(&self, replica: usize) -> PathBuf {
        self.folder.path().join(format!("replica-{replica}.log"))
    }

    /// Where each replica listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|port| (Ipv4Addr::LOCALHOST, *port).into()).collect()
    }

    /// The words after `demo-replica` for each replica. They hold no secret.
    pub fn command_lines(&self) -> Vec<Vec<OsString>> {
        self.ports.iter().map(|port| self.args(*port).words()).collect()
    }

    /// The command line of every replica, as `keyroll.yaml` has it.
    pub fn command(&self, program: &Path, subcommand: &str) -> Vec<String> {
        self.args(0).command(program, subcommand)
    }

    /// The file that an operator would write for this fleet, if its application reads a ring ([`Mode::Sealed`]).
    pub fn keyroll_yaml(&self, described: &Described<'_>) -> String {
        keyroll_yaml(described, &self.args(0), &self.ports)
    }

    /// Replaces the key file, in one step, readable by its owner only.
    pub fn write_keys(&self, content: &Secret) -> Result<(), SceneError> {
        let write = || -> io::Result<()> {
            // `tempfile` makes it with mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(self.folder.path())?;
            file.write_all(content.expose())?;
            file.persist(self.keys()).map_err(|err| err.error)?;
            Ok(())
        };
        write().map_err(|source| SceneError::WriteKeys { path: self.keys(), source })
    }

    fn args(&self, port: u16) -> Args {
        Args {
            port,
            mode: self.mode,
            keys: self.keys(),
            rows: (self.mode == Mode::Rows).then(|| self.rows()),
            lifetime: self.lifetime,
            owner: Some(std::process::id()),
        }
    }

    fn rows(&self) -> PathBuf {
        self.folder.path().join("rows")
    }
}

/// Why there is no scene.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SceneError {
    /// No folder.
    #[error("a folder for the lab can't be made; is there space in the temporary folder?")]
    Folder(#[source] io::Error),
    /// No ports.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// No keys.
    #[error("the lab has no keys")]
    Keys(#[from] KeysError),
    /// The key file can't be written.
    #[error("the key file `{}` can't be written; it is as it was", path.display())]
    WriteKeys {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The file that an operator would write for a fleet of such replicas on these ports ([`Mode::Sealed`]).
pub fn keyroll_yaml(described: &Described<'_>, args: &Args, ports: &[u16]) -> String {
    let Described { name, program, subcommand, escrow } = described;
    let command = args.command(program, subcommand);
    // JSON is YAML, and quotes whatever a path may hold.
    let (name, command, keys) = (json!(name), json!(command), json!(args.keys));
    format!(
        "apiVersion: keyroll.dev/v1alpha1\n\
         kind: SessionKey\n\
         metadata: {{ name: {name} }}\n\
         spec:\n\
         \x20 profile: keyroll\n\
         \x20 store: {{ file: {{ path: {keys} }} }}\n\
         \x20 consumers:\n\
         \x20   - name: replica\n\
         \x20     process:\n\
         \x20       command: {command}\n\
         \x20       ports: {ports:?}\n\
         \x20       ready: {{ path: /healthz }}\n\
         \x20 sessions: {{ maxLifetime: {lifetime}s, leeway: 1s, drain: lifetime }}\n\
         \x20 probe: {{ path: /me, accepted: [200], rejected: [401], payload: {{ json: {{ user: keyroll-probe, session: 00000000-0000-4000-8000-000000000000, expires_at: 4102444800 }} }} }}\n\
         \x20 evidence: {{ report: {{ path: /.keyroll/ring }} }}\n\
         \x20 policy: {{ settle: 0s, escrow: {escrow} }}\n",
        lifetime = args.lifetime.as_secs(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_is_private_and_leaves_nothing_behind() {
        let (scene, _) =
            Scene::prepare(SceneOptions { mode: Mode::OneKey, replicas: 3, lifetime: Duration::from_secs(20) })
                .unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(scene.folder()), 0o700);
        assert_eq!(mode(&scene.keys()), 0o600);
        assert_eq!(scene.addresses().len(), 3);
        let folder = scene.folder().to_owned();
        drop(scene);
        assert!(!folder.exists());
    }
}
