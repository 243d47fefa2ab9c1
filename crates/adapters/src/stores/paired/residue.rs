//! The search for key bytes that should be gone.
//!
//! It reads every file in the folder, not only Keyroll's: the copy that an editor or a careful colleague left beside
//! the original keeps a key alive as well as the original does.

use keyroll_keyring::Secret;
use zeroize::Zeroizing;

use super::disk::ReadError;
use super::{Paired, Syntax};
use crate::stores::{Residue, StoreError};

impl<S: Syntax> Paired<S> {
    pub(super) fn search(&self, material: &[Secret]) -> Result<Residue, StoreError> {
        let target = self.target()?;
        let needles: Vec<_> = material.iter().flat_map(spellings).collect();
        let mut residue = Residue::default();
        let mut unread = Vec::new();
        let names = target.folder.names().map_err(|source| self.unreadable(source.raw_os_error(), Box::new(source)))?;
        for name in names {
            let path = target.folder.path.join(&name).display().to_string();
            match target.folder.read(&name) {
                Ok(snapshot) => {
                    if needles.iter().any(|needle| contains(snapshot.bytes.expose(), needle)) {
                        residue.found.push(path.clone());
                        if name == target.name || name == target.hidden() {
                            residue.document.push(path.clone());
                        }
                    }
                    residue.searched.push(path);
                }
                // Folders, links, sockets; or removed since it was listed.
                Err(ReadError::NotRegular { .. } | ReadError::Absent { .. }) => {}
                // Ours must be readable, or nothing is proven.
                Err(err) if name == target.name || name == target.hidden() || target.is_temporary(&name) => {
                    return Err(self.read_error(err));
                }
                Err(_) => unread.push(path),
            }
        }
        residue.beyond = "other folders, backups, and blocks that the file system has freed".to_owned();
        if !unread.is_empty() {
            residue.beyond = format!("{}, and files that could not be read: {}", residue.beyond, unread.join(", "));
        }
        Ok(residue)
    }
}

/// The ways in which a key may be written.
fn spellings(secret: &Secret) -> Vec<Zeroizing<Vec<u8>>> {
    let bytes = secret.expose();
    let hexadecimal = Zeroizing::new(hex::encode(bytes));
    vec![
        Zeroizing::new(bytes.to_vec()),
        Zeroizing::new(hexadecimal.to_uppercase().into_bytes()),
        Zeroizing::new(hexadecimal.as_bytes().to_vec()),
        Zeroizing::new(base64_simd::STANDARD_NO_PAD.encode_to_string(bytes).into_bytes()),
        Zeroizing::new(base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes).into_bytes()),
    ]
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|window| window == needle)
}
