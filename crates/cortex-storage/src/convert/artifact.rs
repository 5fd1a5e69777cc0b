//! Artifacts.

use cortex_core::ArtifactId;
use cortex_proto::google::api::HttpBody;
use prost::Message;

use super::{
    PageRequest,
    field::{fingerprint, id, not_negative, optional_object, session_id},
    proto,
};
use crate::{
    artifact::{
        About, Artifact, ArtifactQuery, ByteRange, Digest, Expected, NewArtifact, Target,
        UploadRequest,
    },
    config::Limits,
    error::{Result, StorageError},
    journal::RequestId,
};

/// Characters of an artifact's name.
const MAX_NAME: usize = 256;
/// Characters of an artifact's type.
const MAX_TYPE: usize = 64;
/// Characters of a path outside storage.
const MAX_PATH: usize = 4096;
/// Characters of a media type.
const MAX_CONTENT_TYPE: usize = 256;

/// The field `artifact_id`.
pub(crate) fn artifact_id(text: &str) -> Result<ArtifactId> {
    id("artifact_id", text)
}

/// An artifact to note without bytes.
pub(crate) fn new_artifact(
    request: proto::CreateArtifactRequest,
    limits: &Limits,
) -> Result<NewArtifact> {
    let fingerprint = fingerprint(&request);
    let metadata = optional_object("metadata", request.metadata, limits.metadata.get())?;
    Ok(NewArtifact {
        session_id: session_id(&request.session_id)?,
        about: About {
            name: words("name", request.name, MAX_NAME)?,
            kind: words("type", request.r#type, MAX_TYPE)?,
            path: at_most("path", request.path, MAX_PATH)?,
            metadata: metadata.unwrap_or_else(|| "{}".to_owned()),
            content_type: content_type("content_type", request.content_type)?,
        },
        size: not_negative("size", request.size)?,
        request_id: RequestId::parse(request.request_id)?,
        fingerprint,
    })
}

/// What the first request of an upload says, and the first bytes.
pub(crate) fn upload(
    mut request: proto::UploadArtifactRequest,
    limits: &Limits,
) -> Result<(UploadRequest, HttpBody)> {
    let mut content = request.content.take().unwrap_or_default();
    let media_type =
        content_type("content.content_type", std::mem::take(&mut content.content_type))?;
    let mut said = request.encode_to_vec();
    said.extend_from_slice(media_type.as_bytes());
    let expected = Expected {
        digest: match request.expected_digest.as_str() {
            "" => None,
            text => Some(Digest::parse("expected_digest", text)?),
        },
        size: request.expected_size.map(expected_size).transpose()?,
    };
    let request_id = RequestId::parse(std::mem::take(&mut request.request_id))?;
    let target = target(request, media_type, limits)?;
    Ok((UploadRequest { target, expected, request_id, said }, content))
}

fn target(
    request: proto::UploadArtifactRequest,
    content_type: String,
    limits: &Limits,
) -> Result<Target> {
    if request.artifact_id.is_empty() {
        let session_id = session_id(&request.session_id)?;
        let metadata = optional_object("metadata", request.metadata, limits.metadata.get())?;
        let about = About {
            name: words("name", request.name, MAX_NAME)?,
            kind: words("type", request.r#type, MAX_TYPE)?,
            path: String::new(),
            metadata: metadata.unwrap_or_else(|| "{}".to_owned()),
            content_type,
        };
        return Ok(Target::New(session_id, about));
    }
    let artifact_id = artifact_id(&request.artifact_id)?;
    let of_a_new_one = [
        ("session_id", &request.session_id),
        ("name", &request.name),
        ("type", &request.r#type),
        ("metadata", &request.metadata),
    ];
    if let Some((field, _)) = of_a_new_one.iter().find(|(_, text)| !text.is_empty()) {
        let problem = "is for a new artifact, and artifact_id names one that was noted before";
        return Err(StorageError::invalid(*field, problem));
    }
    Ok(Target::Noted(artifact_id, content_type))
}

fn expected_size(size: i64) -> Result<u64> {
    not_negative("expected_size", size).map(i64::unsigned_abs)
}

/// The artifact and the range of its bytes that are asked for.
pub(crate) fn download(
    request: &proto::DownloadArtifactRequest,
) -> Result<(ArtifactId, ByteRange)> {
    let range = ByteRange::parse(request.offset, request.length)?;
    Ok((artifact_id(&request.artifact_id)?, range))
}

/// Which artifacts to list.
pub(crate) fn artifact_query(
    request: &proto::ListArtifactsRequest,
) -> Result<(ArtifactQuery, PageRequest)> {
    let bound = (&request.session_id, &request.r#type);
    let sizes = (request.page_size, request.limit, request.offset);
    let page = PageRequest::parse_with_offset(sizes, &request.page_token, &bound)?;
    let kind = at_most("type", request.r#type.clone(), MAX_TYPE)?;
    let query = ArtifactQuery {
        session_id: session_id(&request.session_id)?,
        kind: Some(kind).filter(|kind| !kind.is_empty()),
        page_size: page.size,
        before: page.number()?,
        offset: page.offset,
    };
    Ok((query, page))
}

/// A text of 1 to `most` characters.
fn words(field: &str, text: String, most: usize) -> Result<String> {
    if text.is_empty() {
        return Err(StorageError::invalid(field, format!("is missing; 1 to {most} characters")));
    }
    at_most(field, text, most)
}

fn at_most(field: &str, text: String, most: usize) -> Result<String> {
    if text.chars().count() > most {
        return Err(StorageError::invalid(field, format!("must have at most {most} characters")));
    }
    Ok(text)
}

/// A media type as RFC 9110, 8.3.1 has it, or nothing. It travels in headers.
fn content_type(field: &str, text: String) -> Result<String> {
    let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let named =
        essence.split_once('/').is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty());
    if !text.is_empty() && (!named || !text.bytes().all(visible)) {
        let problem = "must be a media type such as text/plain, in ASCII";
        return Err(StorageError::invalid(field, problem));
    }
    at_most(field, text, MAX_CONTENT_TYPE)
}

/// An artifact as the contract has it.
pub(crate) fn artifact_to_proto(artifact: Artifact) -> proto::Artifact {
    proto::Artifact {
        id: artifact.artifact_id.into(),
        session_id: artifact.session_id.into(),
        name: artifact.about.name,
        r#type: artifact.about.kind,
        path: artifact.about.path,
        size: artifact.size,
        created_at: Some(artifact.created_at.into()),
        metadata: artifact.about.metadata,
        digest: artifact.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        content_type: artifact.about.content_type,
        updated_at: Some(artifact.updated_at.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> proto::UploadArtifactRequest {
        proto::UploadArtifactRequest {
            session_id: "session_0123456789abcdef".into(),
            name: "a.txt".into(),
            r#type: "report".into(),
            ..Default::default()
        }
    }

    fn field<T: std::fmt::Debug>(result: Result<T>) -> String {
        match result {
            Err(StorageError::Invalid { field, .. }) => field,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_said_does_not_hang_on_how_bytes_are_cut() -> Result<()> {
        let with = |data: &'static [u8], content_type: &str| {
            let content = HttpBody {
                content_type: content_type.into(),
                data: bytes::Bytes::from_static(data),
                ..Default::default()
            };
            proto::UploadArtifactRequest { content: Some(content), ..named() }
        };
        let limits = Limits::default();
        let said = |request| upload(request, &limits).map(|(request, _)| request.said);
        assert_eq!(said(with(b"abc", "a/b"))?, said(with(b"", "a/b"))?);
        assert_ne!(said(with(b"", "a/b"))?, said(with(b"", "a/c"))?);
        Ok(())
    }

    #[test]
    fn media_types_are_media_types() {
        for right in ["", "text/plain", "text/plain; charset=utf-8", "a/b+c"] {
            assert!(content_type("f", right.to_owned()).is_ok(), "{right}");
        }
        for wrong in
            ["text", "/", "text/", "text/plain\n", "text/ü", &format!("a/{}", "b".repeat(255))]
        {
            assert!(content_type("f", wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_wrong_field_is_named() {
        let limits = Limits::default();
        let upload = |request| field(upload(request, &limits));
        assert_eq!(upload(proto::UploadArtifactRequest { name: String::new(), ..named() }), "name");
        assert_eq!(
            upload(proto::UploadArtifactRequest { name: "n".repeat(257), ..named() }),
            "name"
        );
        assert_eq!(
            upload(proto::UploadArtifactRequest { r#type: "t".repeat(65), ..named() }),
            "type"
        );
        assert_eq!(
            upload(proto::UploadArtifactRequest { expected_size: Some(-1), ..named() }),
            "expected_size"
        );
        let digest = proto::UploadArtifactRequest { expected_digest: "x".into(), ..named() };
        assert_eq!(upload(digest), "expected_digest");
        let noted = proto::UploadArtifactRequest {
            artifact_id: "artifact_0123456789abcdef".into(),
            ..named()
        };
        assert_eq!(upload(noted), "session_id");
        let new = proto::CreateArtifactRequest {
            session_id: "session_0123456789abcdef".into(),
            name: "n".into(),
            r#type: "t".into(),
            ..Default::default()
        };
        let create = |request| field(new_artifact(request, &limits));
        assert_eq!(create(proto::CreateArtifactRequest { size: -1, ..new.clone() }), "size");
        assert_eq!(
            create(proto::CreateArtifactRequest { path: "p".repeat(4097), ..new.clone() }),
            "path"
        );
        assert_eq!(
            create(proto::CreateArtifactRequest { metadata: "[]".into(), ..new.clone() }),
            "metadata"
        );
        assert_eq!(
            create(proto::CreateArtifactRequest { content_type: "x".into(), ..new.clone() }),
            "content_type"
        );
        assert_eq!(
            create(proto::CreateArtifactRequest { request_id: "r".repeat(129), ..new }),
            "request_id"
        );
    }
}
