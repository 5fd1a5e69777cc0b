//! The short names of enum values: `SESSION_STATUS_ACTIVE` is `active`.

use std::collections::HashMap;

use prost_reflect::EnumDescriptor;

/// One enum: what is written for a number, and what is read as one.
#[derive(Debug)]
pub(crate) struct EnumPlan {
    short_by_number: HashMap<i32, Box<str>>,
    number_by_name: HashMap<Box<str>, i32>,
    choices: Box<str>,
    /// Whether it is `google.protobuf.NullValue`, which is `null` in JSON.
    pub(crate) null: bool,
}

impl EnumPlan {
    pub(crate) fn new(descriptor: &EnumDescriptor) -> Self {
        let mut plan = Self {
            short_by_number: HashMap::new(),
            number_by_name: HashMap::new(),
            choices: Box::default(),
            null: descriptor.full_name() == "google.protobuf.NullValue",
        };
        let mut choices = Vec::new();
        for (number, name, short) in short_names(descriptor) {
            if !short.ends_with("unspecified") {
                choices.push(format!("\"{short}\""));
            }
            plan.number_by_name.insert(name.into(), number);
            plan.number_by_name.entry(short.clone().into()).or_insert(number);
            plan.short_by_number.entry(number).or_insert_with(|| short.into());
        }
        plan.choices = choices.join(", ").into();
        plan
    }

    /// What is written for `number`, if the contract knows it.
    pub(crate) fn short(&self, number: i32) -> Option<&str> {
        self.short_by_number.get(&number).map(AsRef::as_ref)
    }

    /// The number of a short or a canonical name.
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.number_by_name.get(name).copied()
    }

    /// Every name that makes sense, quoted, for a message to a person.
    pub(crate) fn choices(&self) -> &str {
        &self.choices
    }
}

/// Number, canonical and short name of every value in the order of their declaration.
///
/// A value whose name does not begin with the enum's keeps its whole name, and so do values that
/// would share a short name or begin with a digit.
pub(crate) fn short_names(descriptor: &EnumDescriptor) -> Vec<(i32, String, String)> {
    let prefix = format!("{}_", upper_snake(descriptor.name()));
    let mut numbers: HashMap<String, i32> = HashMap::new();
    let mut names = Vec::new();
    // In the file's order; the descriptor iterates by number.
    for value in &descriptor.enum_descriptor_proto().value {
        let name = value.name();
        let stripped = name
            .strip_prefix(&prefix)
            .filter(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()))
            .unwrap_or(name)
            .to_ascii_lowercase();
        let taken = numbers.get(&stripped).is_some_and(|number| *number != value.number());
        let short = if taken { name.to_ascii_lowercase() } else { stripped };
        numbers.insert(short.clone(), value.number());
        names.push((value.number(), name.to_owned(), short));
    }
    names
}

/// `ToolRunStatus` -> `TOOL_RUN_STATUS`, `HTTPMode` -> `HTTP_MODE`.
fn upper_snake(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 8);
    for (index, character) in characters.iter().enumerate() {
        let after_lower = index > 0 && !characters[index - 1].is_ascii_uppercase();
        let before_lower = characters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        let begins_word = character.is_ascii_uppercase() && (after_lower || before_lower);
        if index > 0 && begins_word && characters[index - 1] != '_' {
            snake.push('_');
        }
        snake.push(character.to_ascii_uppercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::upper_snake;

    #[test]
    fn the_prefix_of_values_is_the_name_of_their_enum() {
        assert_eq!(upper_snake("ToolRunStatus"), "TOOL_RUN_STATUS");
        assert_eq!(upper_snake("HTTPMode"), "HTTP_MODE");
        assert_eq!(upper_snake("Kind"), "KIND");
        assert_eq!(upper_snake("V2Mode"), "V2_MODE");
    }
}
