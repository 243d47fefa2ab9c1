//! A browser's cookies, for one site.
//!
//! A cookie whose session was refused stays in the jar unless the answer sets it anew: that difference decides whether a
//! refusal passes or lasts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// Names and values, with the time at which the browser forgets them.
#[derive(Clone, Default)]
pub(crate) struct Jar(BTreeMap<String, Cookie>);

impl Jar {
    /// Does what the `Set-Cookie` headers of a response say.
    pub(crate) fn follow(&mut self, headers: &HeaderMap, now: SystemTime) {
        for line in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let max_age = parts
                .filter_map(|part| part.split_once('='))
                .filter(|(attribute, _)| attribute.eq_ignore_ascii_case("max-age"))
                .find_map(|(_, seconds)| seconds.parse::<i64>().ok());
            let forgotten_at = match max_age.map(u64::try_from) {
                None => None,
                Some(Ok(seconds)) if seconds > 0 => Some(now + Duration::from_secs(seconds)),
                Some(_) => {
                    self.0.remove(name);
                    continue;
                }
            };
            self.0.insert(name.to_owned(), Cookie { value: value.to_owned(), forgotten_at });
        }
    }

    /// The `Cookie` header, if there is anything to send.
    pub(crate) fn header(&self, now: SystemTime) -> Option<HeaderValue> {
        let kept = self.0.iter().filter(|(_, cookie)| cookie.forgotten_at.is_none_or(|at| now < at));
        let pairs: Vec<_> = kept.map(|(name, cookie)| format!("{name}={}", cookie.value)).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }
}

#[derive(Clone)]
struct Cookie {
    value: String,
    forgotten_at: Option<SystemTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(jar: &mut Jar, lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SET_COOKIE, HeaderValue::from_static(line));
        }
        jar.follow(&headers, SystemTime::UNIX_EPOCH);
        jar.header(SystemTime::UNIX_EPOCH).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_are_kept_replaced_and_deleted_as_the_server_says() {
        let mut jar = Jar::default();
        assert_eq!(after(&mut jar, &[]), None);
        assert_eq!(
            after(&mut jar, &["session=a%2Fb==; Path=/; HttpOnly", "theme=dark"]).unwrap(),
            "session=a%2Fb==; theme=dark"
        );
        assert_eq!(after(&mut jar, &[]).unwrap(), "session=a%2Fb==; theme=dark");
        assert_eq!(after(&mut jar, &["session=c; Path=/"]).unwrap(), "session=c; theme=dark");
        assert_eq!(after(&mut jar, &["session=; Max-Age=0"]).unwrap(), "theme=dark");
    }

    #[test]
    fn a_browser_forgets_a_cookie_when_its_max_age_is_over() {
        let mut jar = Jar::default();
        assert!(after(&mut jar, &["session=a; max-age=20"]).is_some());
        assert!(jar.header(SystemTime::UNIX_EPOCH + Duration::from_secs(19)).is_some());
        assert!(jar.header(SystemTime::UNIX_EPOCH + Duration::from_secs(20)).is_none());
    }
}
