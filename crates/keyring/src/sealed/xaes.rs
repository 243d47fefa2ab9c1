//! XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>): AES-256-GCM with a nonce of 192 bits, which may be random for 2^80 messages.
//!
//! Each message has a key of its own, derived from half of the nonce by AES-CMAC over a single block. That is one block encryption
//! for each half of the key: AES in ECB mode of the same library takes 27 ns for both, its CMAC five times as long.

use aws_lc_rs::aead::{self, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use zeroize::Zeroize;

use super::nonce::NONCE_LEN;
use crate::wipe::wipe;

/// The length of the tag.
pub(super) const TAG_LEN: usize = 16;

/// An XAES-256-GCM key, with CMAC's subkey worked out.
pub(super) struct Xaes {
    blocks: EncryptingKey,
    // CMAC's K1, as a number: the derivation works on whole blocks in registers.
    subkey: u128,
}

impl Xaes {
    /// The key with these bytes.
    pub(super) fn new(key: &[u8; 32]) -> Result<Self, Unspecified> {
        let blocks = EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, key)?)?;
        let mut zero = [0; BLOCK_LEN];
        blocks.less_safe_encrypt(&mut zero, EncryptionContext::None)?;
        let subkey = double(u128::from_be_bytes(zero));
        zero.zeroize();
        Ok(Self { blocks, subkey })
    }

    /// Encrypts `in_out` in place and returns the tag.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        additional: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Unspecified> {
        let (key, nonce) = self.derive(nonce)?;
        let tag: aead::Tag = key.seal_in_place_separate_tag(nonce, Aad::from(additional), in_out)?;
        tag.as_ref().try_into().map_err(|_| Unspecified)
    }

    /// Decrypts `in_out` in place, if `tag` authenticates it.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        additional: &[u8],
        tag: &[u8],
        in_out: &mut [u8],
    ) -> Result<(), Unspecified> {
        let (key, nonce) = self.derive(nonce)?;
        key.open_in_place_separate_tag(nonce, Aad::from(additional), tag, in_out)?;
        Ok(())
    }

    /// The message's own key and nonce.
    fn derive(&self, nonce: &[u8; NONCE_LEN]) -> Result<(LessSafeKey, Nonce), Unspecified> {
        let (words, _) = nonce.as_chunks().0.split_at(3);
        let context = words.iter().fold(0, |context, word| context << 32 | u128::from(u32::from_be_bytes(*word)));
        let mut key = [0; 2 * BLOCK_LEN];
        let (first, second) = key.split_at_mut(BLOCK_LEN);
        first.copy_from_slice(&(PREFIX_1 ^ context ^ self.subkey).to_be_bytes());
        second.copy_from_slice(&(PREFIX_2 ^ context ^ self.subkey).to_be_bytes());
        self.blocks.less_safe_encrypt(&mut key, EncryptionContext::None)?;
        let derived = UnboundKey::new(&AES_256_GCM, &key).map(LessSafeKey::new);
        wipe(&mut key);
        Ok((derived?, Nonce::try_assume_unique_for_key(&nonce[NONCE_LEN / 2..])?))
    }
}

impl Drop for Xaes {
    fn drop(&mut self) {
        // The library wipes its part.
        self.subkey.zeroize();
    }
}

/// Multiplies by x in CMAC's field, without a branch on secret bits.
fn double(block: u128) -> u128 {
    let carry = 0u128.wrapping_sub(block >> 127) & 0x87;
    block << 1 ^ carry
}

const BLOCK_LEN: usize = 16;
/// What the messages of the two blocks begin with: the counter, the label `X` and a zero.
const PREFIX_1: u128 = 0x0001_5800 << 96;
const PREFIX_2: u128 = 0x0002_5800 << 96;

#[cfg(test)]
mod tests {
    use sha3::digest::{ExtendableOutput, Update, XofReader};

    use super::*;

    // Vectors of https://c2sp.org/XAES-256-GCM, commit 5ba5ee8.
    const NONCE: &[u8; NONCE_LEN] = b"ABCDEFGHIJKLMNOPQRSTUVWX";

    fn seal(key: [u8; 32], additional: &[u8], plaintext: &[u8]) -> String {
        let xaes = Xaes::new(&key).expect("a key");
        let mut bytes = plaintext.to_vec();
        let tag = xaes.seal(NONCE, additional, &mut bytes).expect("it is sealed");
        let text = hex::encode([bytes.as_slice(), &tag].concat());
        xaes.open(NONCE, additional, &tag, &mut bytes).expect("it opens");
        assert_eq!(bytes, plaintext);
        text
    }

    #[test]
    fn the_vector_whose_first_bit_is_clear_passes() {
        assert_eq!(seal([1; 32], b"", b"XAES-256-GCM"), "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
        assert_eq!(Xaes::new(&[1; 32]).expect("a key").subkey, 0xe531_954a_ca06_3d5b_8d9c_47a4_7d4c_c6f0);
    }

    #[test]
    fn the_vector_whose_first_bit_is_set_passes() {
        let sealed = seal([3; 32], b"c2sp.org/XAES-256-GCM", b"XAES-256-GCM");
        assert_eq!(sealed, "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
        assert_eq!(Xaes::new(&[3; 32]).expect("a key").subkey, 0x2381_0ec5_0edb_99f3_7440_9466_ed1f_4b7b);
    }

    #[test]
    fn ten_thousand_accumulated_messages_pass() {
        let expected = "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939";
        assert_eq!(accumulated(10_000), expected);
    }

    #[test]
    #[ignore = "takes half a minute without optimisation; run it with `cargo test --release -p keyroll-keyring -- --ignored`"]
    fn a_million_accumulated_messages_pass() {
        let expected = "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15";
        assert_eq!(accumulated(1_000_000), expected);
    }

    fn accumulated(messages: usize) -> String {
        let mut random = sha3::Shake128::default().finalize_xof();
        let mut sum = sha3::Shake128::default();
        for _ in 0..messages {
            let (mut key, mut nonce, mut length) = ([0; 32], [0; NONCE_LEN], [0; 1]);
            random.read(&mut key);
            random.read(&mut nonce);
            random.read(&mut length);
            let mut plaintext = vec![0; usize::from(length[0])];
            random.read(&mut plaintext);
            random.read(&mut length);
            let mut additional = vec![0; usize::from(length[0])];
            random.read(&mut additional);

            let xaes = Xaes::new(&key).expect("a key");
            let mut bytes = plaintext.clone();
            let tag = xaes.seal(&nonce, &additional, &mut bytes).expect("it is sealed");
            sum.update(&bytes);
            sum.update(&tag);
            xaes.open(&nonce, &additional, &tag, &mut bytes).expect("it opens");
            assert_eq!(bytes, plaintext);
        }
        let mut hash = [0; 32];
        sum.finalize_xof().read(&mut hash);
        hex::encode(hash)
    }
}
