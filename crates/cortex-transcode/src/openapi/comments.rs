//! The comments of the contracts, as descriptions.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// Every leading comment of a pool, by file and path.
pub(crate) struct Comments {
    by_place: HashMap<(String, Vec<i32>), String>,
}

impl Comments {
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let mut by_place = HashMap::new();
        for file in pool.files() {
            let info = file.file_descriptor_proto().source_code_info.as_ref();
            for location in info.map(|info| info.location.as_slice()).unwrap_or_default() {
                let comment = clean(location.leading_comments());
                if !comment.is_empty() {
                    by_place.insert((file.name().to_owned(), location.path.clone()), comment);
                }
            }
        }
        Self { by_place }
    }

    /// The comment of what stands at `path` in `file`.
    pub(crate) fn get(&self, file: &FileDescriptor, path: &[i32]) -> Option<&str> {
        self.by_place.get(&(file.name().to_owned(), path.to_vec())).map(String::as_str)
    }
}

/// Without the space after `//`, and without what stands before and after.
fn clean(comment: &str) -> String {
    let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The first sentence, on one line, without its full stop.
pub(crate) fn summary(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let sentence = paragraph.split(". ").next().unwrap_or_default();
    sentence.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_is_the_summary() {
        assert_eq!(clean(" One\n two. Three.\n\n  four\n"), "One\ntwo. Three.\n\n four");
        assert_eq!(summary("One\ntwo. Three.\n\nfour"), "One two");
        assert_eq!(summary("One."), "One");
        assert_eq!(summary(""), "");
    }
}
