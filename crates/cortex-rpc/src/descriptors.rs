//! Descriptors of the plumbing that every server carries: health and reflection.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The standard health and reflection services as a pool. Decoded once per process.
pub(crate) fn infrastructure() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        let mut pool = DescriptorPool::new();
        let sets = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        for set in sets {
            pool.decode_file_descriptor_set(set).expect("tonic ships valid descriptors");
        }
        pool
    });
    &POOL
}
