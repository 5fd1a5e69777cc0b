//! Between contracts and domain. All validation of requests is here: what passes holds no nonsense.

mod admin;
mod artifact;
mod cache;
mod entry;
mod execution;
mod field;
mod history;
mod journal;
mod metric;
mod page;
mod record;
mod session;

pub(crate) use admin::{
    check_to_proto, migrate_to_proto, piece_to_proto, prune_plan, prune_to_proto, restore_options,
    restored_to_proto, stats_to_proto, target_url,
};
pub(crate) use artifact::{
    artifact_id, artifact_query, artifact_to_proto, download, new_artifact, upload,
};
pub(crate) use cache::{cache_entry_to_proto, cache_query, delete_cache_entry, put_cache_entry};
pub(crate) use entry::entry_to_proto;
pub(crate) use execution::{claim, execution_query, execution_to_proto, finish};
pub(crate) use field::{
    entry_type, execution_id, holder_id, message_id, not_negative, optional_name, session_id,
    type_url,
};
pub(crate) use history::{add_message, clear_history, message_query, message_to_proto};
pub(crate) use journal::{
    acquire, append, entry_query, entry_watch, fork, journal_to_proto, registration, release,
    submit,
};
pub(crate) use metric::{
    aggregation, batch, metric_query, metric_to_proto, record_metric, recorded_to_proto,
    series_to_proto,
};
pub(crate) use page::PageRequest;
pub(crate) use record::{change_to_proto, delete_record, put_record, record_to_proto};
pub(crate) use session::{
    clear_state, new_session, patch_state, replace_state, session_patch, session_query,
    session_to_proto, state_to_proto, status_change,
};

/// The generated contracts.
pub(crate) use cortex_proto::cortex::storage::v1 as proto;
