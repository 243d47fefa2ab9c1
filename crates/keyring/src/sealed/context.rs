//! What a sealed session is for: it opens nowhere else, although the key is the same.
//!
//! Each field is hashed with its length, so that no two contexts run together (`a`, `bc` and `ab`, `c`).

use aws_lc_rs::digest::{Context as Hash, SHA256};

/// The cookie, the purpose and the tenant that a session is bound to. Build it once and keep it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Context {
    digest: [u8; DIGEST_LEN],
}

impl Context {
    /// The context of the cookie `cookie`, used for `purpose`, on behalf of `tenant`. Any of them may be empty.
    pub fn new(cookie: &str, purpose: &str, tenant: &str) -> Self {
        let mut hash = Hash::new(&SHA256);
        hash.update(LABEL);
        for field in [cookie, purpose, tenant] {
            // A field of 2^64 bytes does not fit into memory.
            hash.update(&(field.len() as u64).to_be_bytes());
            hash.update(field.as_bytes());
        }
        let mut digest = [0; DIGEST_LEN];
        digest.copy_from_slice(hash.finish().as_ref());
        Self { digest }
    }

    /// What goes into the additional data.
    pub(super) fn digest(&self) -> &[u8; DIGEST_LEN] {
        &self.digest
    }
}

pub(super) const DIGEST_LEN: usize = 32;
const LABEL: &[u8] = b"keyroll sealed token v1 context";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_would_run_together_are_different_contexts() {
        assert_ne!(Context::new("ab", "c", ""), Context::new("a", "bc", ""));
        assert_ne!(Context::new("a", "", "b"), Context::new("a", "b", ""));
        assert_eq!(Context::new("a", "b", "c"), Context::new("a", "b", "c"));
    }
}
