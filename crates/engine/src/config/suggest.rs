//! "Did you mean": the nearest of the words that are allowed.

/// The word that was most likely meant, if one is near enough to be worth saying.
pub(super) fn nearest<'a>(written: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = folded(written);
    let limit = (written.chars().count() / 3).max(1);
    allowed
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written, &folded(word)), word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `max_lifetime`, `max-lifetime` and `MaxLifetime` are all `maxLifetime` with another accent.
fn folded(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_is_offered_and_a_far_one_is_not() {
        let allowed = ["maxLifetime", "idle", "leeway", "drain", "drainLimit"];
        assert_eq!(nearest("max_lifetime", allowed), Some("maxLifetime"));
        assert_eq!(nearest("maxLifetme", allowed), Some("maxLifetime"));
        assert_eq!(nearest("leway", allowed), Some("leeway"));
        assert_eq!(nearest("colour", allowed), None);
    }
}
