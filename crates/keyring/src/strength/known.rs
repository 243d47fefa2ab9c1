//! Keys that are public: published samples, words that ask to be replaced, and templates that nobody filled in.
//!
//! A random key may hold such a word by chance. So a word is looked at together with what is left without it.

use std::{collections::HashSet, sync::LazyLock};

use regex::bytes::Regex;
use zeroize::Zeroizing;

/// Whether all of it is a published sample, as text or decoded.
pub(super) fn is_public_sample(text: &[u8]) -> bool {
    static ALL: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| {
        let mut all = HashSet::new();
        for sample in SAMPLES {
            all.insert(sample.as_bytes().to_vec());
            all.extend(hex::decode(sample));
            all.extend(base64_simd::STANDARD.decode_to_vec(sample));
            all.extend(base64_simd::URL_SAFE.decode_to_vec(sample));
        }
        all
    });
    ALL.contains(text)
}

/// What is left without the words that ask to be replaced, where there are any.
pub(super) fn without_placeholder(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    static WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| regex(&format!("(?i-u)(?:{})", PLACEHOLDERS.join("|"))));
    remove(WORDS.as_ref()?, text)
}

/// What is left without the expressions of a template, where there are any.
pub(super) fn without_template_text(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    static TEMPLATES: LazyLock<Option<Regex>> =
        LazyLock::new(|| regex(&format!("(?-u)(?:{})", TEMPLATES_OF.join("|"))));
    remove(TEMPLATES.as_ref()?, text)
}

fn regex(pattern: &str) -> Option<Regex> {
    let regex = Regex::new(pattern);
    debug_assert!(regex.is_ok(), "a pattern of this file does not compile");
    regex.ok()
}

fn remove(pattern: &Regex, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut rest = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut end = 0;
    for found in pattern.find_iter(text) {
        rest.extend_from_slice(&text[end..found.start()]);
        end = found.end();
    }
    (end > 0).then(|| {
        rest.extend_from_slice(&text[end..]);
        rest
    })
}

/// Keys that are printed in documentation, shipped in test suites or were once defaults.
const SAMPLES: &[&str] = &[
    // Rails: its own test suite and changelog, the Rails tutorial, engines' dummy applications.
    "b3c631c314c0bbca50c1b2843150fe33",
    "1433c72545535216904bb2208a16b07e0140e5b09e939eae2c339e134f75df2ef2adda933819615a3a4460d759420db68afb27d4153f957e21625f2033f48315",
    "bf0ce54e318ce934b987855709b7eb2038f1c29a7142c07ae18651ec0c9163594a466666a2ec9ae8f332853f8c8ed20079bbc740314263d92bbf2a35b9cf0e64",
    "bbd2ca5b4336b1112a4b12f92ec13f6434e6b504f7582912a2903bae8fe0547303f86f5b910205264fa8d37dfc7206a63ab65f1c20a6e48e837d9c34b78f1408",
    // The configuration page of Flask.
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    // The examples of oauth2-proxy.
    "OQINaROshtE9TcZkNAm-5Zs2Pv3xaWytBmc5W7sPX7w=",
    // The README of iron-session.
    "complex_password_at_least_32_characters_long",
];

/// Words that ask to be replaced; regular expressions without capitals. All are long enough that random text of a few
/// hundred characters holds none.
const PLACEHOLDERS: &[&str] = &[
    "change[-_ ]?me",
    "change[-_ ]?this",
    "replace[-_ ]?me",
    "replace[-_ ]?this",
    "your[-_ ]own[-_ ]",
    "your[-_ ]?(?:super[-_ ]?)?secret(?:[-_ ]?key)?(?:[-_ ]?base)?",
    "super[-_ ]?secret",
    "not[-_ ]?so[-_ ]?secret",
    "django-insecure-",
    "insert[-_ ]?your",
    "keyboard[-_ ]?cat",
    "placeholder",
    "secret[-_ ]?key[-_ ]?base",
    "do[-_ ]?not[-_ ]?use",
    "for[-_ ]?development[-_ ]?only",
];

/// Expressions that a template engine, a shell or a program was to replace.
const TEMPLATES_OF: &[&str] = &[
    // Ruby: `ENV["NAME"]`, `ENV.fetch("NAME")`, and ERB around it.
    r#"ENV\s*\[\s*["']?[^\]]*\]?"#,
    r"ENV\.fetch\s*\([^)]*\)?",
    r"<%[=-]?[^%]*(?:%[^>][^%]*)*%>",
    r"<%=?.*",
    // Shell, Compose, Kubernetes: `${NAME}`, `${NAME:-default}`, `$(NAME)`, `$NAME`.
    r"\$\{[^}]*\}",
    r"\$\([^)]*\)",
    r"^\$[A-Za-z_][A-Za-z0-9_]*$",
    // Jinja, Helm, Mustache, Go templates.
    r"\{\{.*\}\}",
    // JavaScript, Python, PHP.
    r"process\.env\.[A-Za-z0-9_]+",
    r#"os\.environ(?:\.get)?\s*[\[(][^\])]*[\])]?"#,
    r#"env\(\s*["'][^"']*["'][^)]*\)"#,
    // `<your secret here>` and `%(name)s`.
    r"^<[A-Za-z][A-Za-z0-9_ -]*>$",
    r"%\([A-Za-z0-9_]+\)s",
];
