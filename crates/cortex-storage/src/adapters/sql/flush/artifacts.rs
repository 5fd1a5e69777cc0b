//! Artifacts, and the bytes that they refer to.

use crate::{
    adapters::sql::{cache::TenantNo, script::Script, work::Writes},
    artifact::{BlobName, Digest},
    journal::SessionNo,
};

const ARTIFACTS: &str = "artifacts (tenant, artifact_id, session, name, type, path, size, metadata, \
    content_type, digest, created_at, updated_at)";
const COMPLETE: &str = "UPDATE artifacts SET size = v.column3, digest = v.column4, \
    content_type = v.column5, updated_at = v.column6 FROM ";
const COMPLETED: &str =
    " v WHERE artifacts.tenant = v.column1 AND artifacts.artifact_id = v.column2";
const BYTES: &str = "artifact_bytes (tenant, digest, name, uses)";
const BYTES_CONFLICT: &str =
    "ON CONFLICT (tenant, digest) DO UPDATE SET uses = artifact_bytes.uses + excluded.uses";

impl Writes {
    /// Notes that one more artifact refers to bytes, which are kept under `blob` unless they are known.
    pub(in super::super) fn use_bytes(
        &mut self,
        tenant: TenantNo,
        digest: Digest,
        blob: &BlobName,
    ) {
        let noted = self.used_bytes.entry((tenant, digest)).or_insert_with(|| (blob.clone(), 0));
        noted.1 += 1;
    }

    pub(super) fn write_artifacts(&self, script: &mut Script) {
        if let Some(store_id) = &self.store_id {
            script.push("INSERT INTO stores (store, store_id) VALUES (1, ?) ON CONFLICT (store) DO NOTHING;");
            script.bind(store_id.as_str().to_owned());
        }
        script.insert(
            (ARTIFACTS, 12, ""),
            &self.new_artifacts,
            |script, (tenant, session, new)| {
                script
                    .bind(tenant.0)
                    .bind(new.artifact_id.as_str().to_owned())
                    .bind(session.0)
                    .bind(new.about.name.clone())
                    .bind(new.about.kind.clone())
                    .bind(new.about.path.clone())
                    .bind(new.size)
                    .bind(new.about.metadata.clone())
                    .bind(new.about.content_type.clone())
                    .bind(new.digest.map(|digest| digest.as_bytes().to_vec()))
                    .bind(new.created_at.micros())
                    .bind(new.updated_at.micros());
            },
        );
        script.values(
            (COMPLETE, 6, COMPLETED),
            &self.completed_artifacts,
            |script, (tenant, it)| {
                script
                    .bind(tenant.0)
                    .bind(it.artifact_id.as_str().to_owned())
                    .bind(it.size)
                    .bind(it.digest.map(|digest| digest.as_bytes().to_vec()))
                    .bind(it.about.content_type.clone())
                    .bind(it.updated_at.micros());
            },
        );
        self.write_bytes(script);
    }

    fn write_bytes(&self, script: &mut Script) {
        let used: Vec<_> = self.used_bytes.iter().collect();
        script.insert(
            (BYTES, 4, BYTES_CONFLICT),
            &used,
            |script, ((tenant, digest), (blob, uses))| {
                script
                    .bind(tenant.0)
                    .bind(digest.as_bytes().to_vec())
                    .bind(blob.as_str().to_owned())
                    .bind(*uses);
            },
        );
        for (tenant, artifact_id) in &self.artifact_removals {
            script.push("DELETE FROM artifacts WHERE tenant = ? AND artifact_id = ?;");
            script.bind(tenant.0).bind(artifact_id.as_str().to_owned());
        }
        for (tenant, digest) in &self.unused_bytes {
            script
                .push("UPDATE artifact_bytes SET uses = uses - 1 WHERE tenant = ? AND digest = ?;");
            script.bind(tenant.0).bind(digest.as_bytes().to_vec());
        }
        for bytes in &self.forgotten_bytes {
            script.push("DELETE FROM artifact_bytes WHERE tenant = ? AND digest = ? AND name = ? AND uses = 0;");
            script
                .bind(bytes.tenant.0)
                .bind(bytes.digest.as_bytes().to_vec())
                .bind(bytes.blob.as_str().to_owned());
        }
    }
}

/// Deletes at most `rows` artifacts of a session that is gone, which then use their bytes no more.
pub(super) fn write_artifact_purge(script: &mut Script, session: SessionNo, rows: i64) {
    script.push(
        "UPDATE artifact_bytes SET uses = uses - v.freed FROM \
         (SELECT d.tenant, d.digest, count(*) AS freed FROM \
          (SELECT a.tenant, a.digest FROM artifacts a WHERE a.session = ? ORDER BY a.artifact LIMIT ?) d \
          WHERE d.digest IS NOT NULL GROUP BY d.tenant, d.digest) v \
         WHERE artifact_bytes.tenant = v.tenant AND artifact_bytes.digest = v.digest;",
    );
    script.bind(session.0).bind(rows);
    script.push(
        "DELETE FROM artifacts WHERE artifact IN \
         (SELECT artifact FROM artifacts WHERE session = ? ORDER BY artifact LIMIT ?);",
    );
    script.bind(session.0).bind(rows);
}
