//! Which words mean the same: inflections of English words, and the four operations.

/// Words of one meaning. A value of an enum and a word of the message match when both belong to the
/// same group.
const GROUPS: [&[&str]; 4] = [
    &["multiply", "multiplication", "mul", "times", "product", "*", "×", "x"],
    &["add", "addition", "plus", "sum", "+"],
    &["subtract", "subtraction", "sub", "minus", "difference", "less", "-", "−"],
    &["divide", "division", "div", "quotient", "over", "/", "÷"],
];

/// Words that mean an operation only between two numbers.
const OPERATORS: [&str; 10] = ["*", "×", "x", "+", "-", "−", "/", "÷", "over", "less"];

/// Endings that an English verb or noun takes.
const ENDINGS: [&str; 12] = ["", "e", "y", "s", "es", "d", "ed", "ied", "ies", "ing", "ying", "er"];

/// Whether the word counts only between two numbers.
pub(super) fn is_operator(word: &str) -> bool {
    OPERATORS.iter().any(|operator| operator.eq_ignore_ascii_case(word))
}

/// Whether `word` of a message means the `value` of an enum.
pub(super) fn means(value: &str, word: &str) -> bool {
    let (value, word) = (value.to_lowercase(), word.to_lowercase());
    if inflected(&value, &word) {
        return true;
    }
    let group =
        |text: &str| GROUPS.iter().position(|group| group.iter().any(|w| inflected(w, text)));
    group(&value).is_some_and(|meaning| group(&word) == Some(meaning))
}

/// Whether both are forms of one word: `multiply`, `multiplied`, `multiplying`.
fn inflected(base: &str, word: &str) -> bool {
    if base == word {
        return true;
    }
    let stem = base.strip_suffix(['y', 'e']).unwrap_or(base);
    if stem.len() < 3 {
        return false;
    }
    word.strip_prefix(stem).is_some_and(|ending| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflections_and_operations_are_known() {
        for (value, word) in [
            ("multiply", "multiplied"),
            ("multiply", "times"),
            ("Multiply", "×"),
            ("add", "Adding"),
            ("add", "plus"),
            ("subtract", "minus"),
            ("divide", "dividing"),
            ("summarize", "summarized"),
            ("celsius", "celsius"),
        ] {
            assert!(means(value, word), "{word} means {value}");
        }
        for (value, word) in
            [("add", "address"), ("multiply", "plus"), ("a", "as"), ("up", "ups"), ("add", "ad")]
        {
            assert!(!means(value, word), "{word} does not mean {value}");
        }
    }
}
