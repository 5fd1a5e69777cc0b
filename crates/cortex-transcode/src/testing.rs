//! The contracts that unit tests are run on.

use std::{path::Path, sync::LazyLock};

use prost_reflect::DescriptorPool;

use crate::schema::Schema;

/// Compiled from `tests/proto` and the workspace's `proto`.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let includes = [here.join("tests/proto"), here.join("../../proto")];
        let mut compiler = protox::Compiler::new(includes).expect("the directories exist");
        compiler.include_imports(true).include_source_info(true);
        compiler.open_files(["test/v1/library.proto"]).expect("the test contract");
        let files = compiler.encode_file_descriptor_set();
        DescriptorPool::decode(files.as_slice()).expect("protox makes valid descriptors")
    });
    &POOL
}

/// The schema of [`pool`].
pub(crate) fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(pool()));
    &SCHEMA
}
