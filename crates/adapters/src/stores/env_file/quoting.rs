//! Spelling a value so that it is read back as it was given.
//!
//! The quotes that were there are kept where they can hold the new value. A value of letters, digits and the few other
//! characters of hexadecimal and base64 needs none, and then even readers that know no quotes (`docker run --env-file`)
//! agree.

use zeroize::Zeroizing;

use super::EnvDialect;

/// The quotes around a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quoting {
    Bare,
    Single,
    Double,
}

impl Quoting {
    /// The quotes of a value as it is spelled.
    pub(super) fn of(spelled: &[u8]) -> Self {
        match spelled.first() {
            Some(b'\'') => Self::Single,
            Some(b'"') => Self::Double,
            _ => Self::Bare,
        }
    }
}

/// Spells `value`, with the quotes of `like` if they will do; or says why it can't be.
pub(super) fn encode(value: &[u8], like: Quoting, dialect: EnvDialect) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    if std::str::from_utf8(value).is_err() {
        return Err("is not UTF-8");
    }
    if value.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err("spans lines, which no reader of keys expects");
    }
    if value.iter().any(u8::is_ascii_control) {
        return Err("contains a control character");
    }
    let orders = match like {
        Quoting::Bare => [Quoting::Bare, Quoting::Single, Quoting::Double],
        Quoting::Single => [Quoting::Single, Quoting::Double, Quoting::Bare],
        Quoting::Double => [Quoting::Double, Quoting::Single, Quoting::Bare],
    };
    match orders.into_iter().find(|quoting| can_hold(*quoting, value, dialect)) {
        Some(quoting) => Ok(spell(value, quoting)),
        None if dialect == EnvDialect::Systemd => Ok(escape(value)),
        None => Err("has quotes, backslashes or dollar signs that not every reader of such a file takes alike"),
    }
}

/// Whether `value` stands for itself within these quotes, for every reader that counts.
fn can_hold(quoting: Quoting, value: &[u8], dialect: EnvDialect) -> bool {
    match quoting {
        Quoting::Bare => value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(byte)),
        Quoting::Single => {
            // Python's reader takes `\\` and `\'` as escapes here; systemd and `sh` take no backslash as one.
            let taken = |pair: &[u8]| pair[0] == b'\\' && pair[1] == b'\\';
            !value.contains(&b'\'')
                && (dialect == EnvDialect::Systemd || !(value.ends_with(b"\\") || value.windows(2).any(taken)))
        }
        Quoting::Double => !value.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'$' | b'`')),
    }
}

fn spell(value: &[u8], quoting: Quoting) -> Zeroizing<Vec<u8>> {
    let quote: &[u8] = match quoting {
        Quoting::Bare => b"",
        Quoting::Single => b"'",
        Quoting::Double => b"\"",
    };
    let mut text = Zeroizing::new(Vec::with_capacity(value.len() + 2));
    text.extend_from_slice(quote);
    text.extend_from_slice(value);
    text.extend_from_slice(quote);
    text
}

/// systemd's double quotes, in which a backslash takes the meaning from four characters.
fn escape(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(value.len() * 2 + 2));
    text.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\' | b'$' | b'`') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
    text
}
