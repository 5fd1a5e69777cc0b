//! Generated code of the contracts in `proto/`, and their descriptors.
//!
//! The modules follow the packages: `cortex.storage.v1` is [`cortex::storage::v1`]. No serde
//! derives: JSON is the transcoder's business, over the descriptors.

#[expect(missing_docs, reason = "the contracts carry the comments; google's files are not ours")]
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    unreachable_pub,
    reason = "generated code"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}

pub use generated::{cortex, google};

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The encoded `google.protobuf.FileDescriptorSet` of every contract, with source info (comments).
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The contracts as a reflection pool, options and extensions included. Decoded once per process.
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build wrote a valid descriptor set")
    });
    &POOL
}
