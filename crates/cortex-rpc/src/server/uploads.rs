//! Where plain HTTP bodies are bytes of any media type rather than JSON.

use cortex_proto::google::api::{HttpRule, http_rule::Pattern};
use prost_reflect::{DescriptorPool, MethodDescriptor};

/// The paths of methods that take a stream of bytes, by their `google.api.http` annotations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uploads(Vec<Vec<Segment>>);

/// One segment of a path template. A verb (`:upload`) is part of its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// A variable, and what follows it in the segment.
    Variable(String),
}

impl Uploads {
    pub(crate) fn of(pools: &[DescriptorPool]) -> Self {
        let methods = pools.iter().flat_map(DescriptorPool::services).flat_map(|service| {
            service.methods().filter(MethodDescriptor::is_client_streaming).collect::<Vec<_>>()
        });
        Self(methods.flat_map(|method| templates(&method)).map(|t| segments(&t)).collect())
    }

    /// Whether `path` takes bytes.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let given: Vec<_> = path.trim_start_matches('/').split('/').collect();
        self.0.iter().any(|template| {
            template.len() == given.len()
                && template.iter().zip(&given).all(|(segment, given)| segment.fits(given))
        })
    }
}

impl Segment {
    fn fits(&self, given: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == given,
            Self::Variable(suffix) => {
                given.len() > suffix.len() && given.ends_with(suffix.as_str())
            }
        }
    }
}

fn segments(template: &str) -> Vec<Segment> {
    let segment = |text: &str| match text.split_once('}') {
        Some((_, suffix)) if text.starts_with('{') => Segment::Variable(suffix.to_owned()),
        _ => Segment::Literal(text.to_owned()),
    };
    template.trim_start_matches('/').split('/').map(segment).collect()
}

/// Every POST, PUT and PATCH template of `method`.
fn templates(method: &MethodDescriptor) -> Vec<String> {
    let Some(extension) = method.parent_pool().get_extension_by_name("google.api.http") else {
        return Vec::new();
    };
    let options = method.options();
    let rule = options.get_extension(&extension);
    let Some(rule) = rule.as_message().and_then(|rule| rule.transcode_to::<HttpRule>().ok()) else {
        return Vec::new();
    };
    std::iter::once(&rule)
        .chain(&rule.additional_bindings)
        .filter_map(|rule| match &rule.pattern {
            Some(Pattern::Post(path) | Pattern::Put(path) | Pattern::Patch(path)) => {
                Some(path.clone())
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_uploads_are_known() {
        let uploads = Uploads::of(&[cortex_proto::descriptor_pool().clone()]);
        assert!(uploads.contains("/storage/artifacts:upload"), "{uploads:?}");
        assert!(uploads.contains("/storage/artifacts/artifact_0123456789abcdef/content"));
        for path in ["/", "/storage/artifacts", "/storage/artifacts//content", "/storage/sessions"]
        {
            assert!(!uploads.contains(path), "{path}");
        }
    }

    #[test]
    fn a_verb_behind_a_variable_counts() {
        let uploads = Uploads(vec![segments("/files/{name=*}:put")]);
        assert!(uploads.contains("/files/a:put"));
        assert!(!uploads.contains("/files/a") && !uploads.contains("/files/:put"));
    }
}
