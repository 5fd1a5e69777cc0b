//! "Did you mean": the nearest of the names that would have been right.

/// The candidate nearest to `name` by edit distance, if it is near enough to be a slip of the hand:
/// at most one edit for each three characters, and never more than four.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let allowed = (wanted.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean 'x'?` for the nearest candidate, or nothing.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, candidates).map(|near| format!("; did you mean '{near}'?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_recognised_and_nonsense_is_not() {
        let known = ["calculator", "clock", "web_search"];
        assert_eq!(closest("calculater", known), Some("calculator"));
        assert_eq!(closest("WebSearch", known), Some("web_search"));
        assert_eq!(closest("zebra", known), None);
        assert_eq!(did_you_mean("clok", known), "; did you mean 'clock'?");
    }
}
