//! What a unary call costs on each transport: p50 and p99 of an empty and a 64 KiB message.
//!
//! `cargo bench -p cortex-rpc`. Method: one caller, one call after the other, after a warm-up; the
//! service answers at once. Figures are in docs/performance.md.
#![allow(clippy::print_stdout, reason = "figures are what a benchmark is for")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{
    Way, World,
    echo::{Echo, EchoClient, ask, ask_n},
};

const WARM_UP: usize = 2_000;
const CALLS: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // The caller is a task of the runtime, as it is in a service.
    let run = runtime.spawn(async {
        measure("bare local", EchoClient(cortex_rpc::local(Echo::default()))).await;
        let local = World::new(Way::InProcess).await;
        measure("local", local.client).await;
        let tcp = World::new(Way::Tcp).await;
        measure("tcp", tcp.client).await;
    });
    runtime.block_on(run).expect("no panic");
}

async fn measure(name: &str, mut client: EchoClient) {
    for (size, request) in [("empty", ask("hello")), ("64 KiB", ask_n("weigh", 64 << 10))] {
        let mut times = Vec::with_capacity(CALLS);
        for call in 0..WARM_UP + CALLS {
            let begun = Instant::now();
            client.echo(request.clone()).await.expect("answered");
            if call >= WARM_UP {
                times.push(begun.elapsed());
            }
        }
        times.sort_unstable();
        let at = |share: f64| micros(times[(CALLS as f64 * share) as usize]);
        println!("{name:<12} {size:<8} p50 {:>8} us   p99 {:>8} us", at(0.5), at(0.99));
    }
}

fn micros(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6)
}
