//! The metadata envelope around a Rails cookie's payload: `{"_rails":{"message":..,"exp":..,"pur":..}}`.
//!
//! Rails decides by the first bytes alone whether there is an envelope, and opens a cookie without one even where it writes
//! them, because an application may have switched `use_cookies_with_metadata` on only yesterday.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::UnixTime;
use crate::codec::OpenError;

/// An opened plaintext, taken apart.
pub(super) struct Envelope<'a> {
    /// Where the payload is, and how it is written there.
    pub(super) message: Message<'a>,
    /// When it ends.
    pub(super) expires_at: Option<UnixTime>,
}

/// The payload inside of a plaintext.
pub(super) enum Message<'a> {
    /// The plaintext is the payload.
    Whole,
    /// The payload in strict base64.
    Base64(&'a [u8]),
}

/// The text before and after the payload's base64, in exactly the order of keys that Rails writes.
pub(super) fn around(purpose: &str, expires_at: Option<Timestamp>) -> (&'static str, String) {
    let exp =
        expires_at.map_or_else(|| "null".to_owned(), |at| format!("\"{}\"", at.strftime("%Y-%m-%dT%H:%M:%S.000Z")));
    (PREFIX, format!("\",\"exp\":{exp},\"pur\":\"{purpose}\"}}}}"))
}

/// The purpose of the cookie `name`, as it stands in JSON. Active Support escapes `&`, the only character of a cookie name that it touches.
pub(super) fn purpose(name: &str) -> String {
    format!("cookie.{}", name.replace('&', "\\u0026"))
}

/// Takes an authenticated `plaintext` apart, and refuses one whose time is over or that was sealed for another purpose.
///
/// `endless` is what [`around`] puts after the payload of a session for `cookie` that has no expiry.
pub(super) fn parse<'a>(
    plaintext: &'a [u8],
    cookie: &str,
    endless: &str,
    now: UnixTime,
) -> Result<Envelope<'a>, OpenError> {
    let Some(rest) = plaintext.strip_prefix(PREFIX.as_bytes()) else {
        return Ok(Envelope { message: Message::Whole, expires_at: None });
    };
    // Nearly every session is this text and nothing else, and with no quotation mark in the middle it can't be read in another way.
    if let Some(message) = rest.strip_suffix(endless.as_bytes())
        && memchr::memchr2(b'"', b'\\', message).is_none()
    {
        return Ok(Envelope { message: Message::Base64(message), expires_at: None });
    }
    let Wire { rails } = serde_json::from_slice(plaintext).map_err(|_| OpenError::Malformed)?;
    // Rails asks for `cookie.NAME` first and for no purpose second; an empty purpose is none.
    if let Some(purpose) = rails.pur.as_deref()
        && !purpose.is_empty()
        && purpose.strip_prefix("cookie.") != Some(cookie)
    {
        return Err(OpenError::OtherPurpose);
    }
    let expires_at = match rails.exp {
        None => None,
        Some(text) => {
            let at: Timestamp = text.parse().map_err(|_| OpenError::Malformed)?;
            if now.0 >= at.as_second() + i64::from(at.subsec_nanosecond() > 0) {
                return Err(OpenError::Expired);
            }
            Some(UnixTime(at.as_second()))
        }
    };
    Ok(Envelope { message: Message::Base64(rails.message.as_bytes()), expires_at })
}

#[derive(serde::Deserialize)]
struct Wire<'a> {
    #[serde(rename = "_rails", borrow)]
    rails: WireMetadata<'a>,
}

#[derive(serde::Deserialize)]
struct WireMetadata<'a> {
    // Borrowed, so that no unwiped copy of the payload is made. Base64 needs no escapes in JSON, and Rails writes none.
    message: &'a str,
    #[serde(default, borrow)]
    exp: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pur: Option<Cow<'a, str>>,
}

pub(super) const PREFIX: &str = r#"{"_rails":{"message":""#;
