//! A server that ends and starts again at any moment, under load from two replicas: every acknowledged
//! append is there once, sequences have no gap, and the service goes on by itself.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cortex_config::SecretString;
use cortex_core::SystemClock;
use cortex_proto::cortex::storage::v1::journal_service_client::JournalServiceClient;
use cortex_rpc::Transport;
use cortex_storage::{Storage, StorageConfig};
use cortex_testkit::Postgres;
use tonic::Code;

use crate::log::{self, Acknowledged};

/// How often the server ends. The long form sets more.
const RESTARTS: &str = "CORTEX_STORAGE_RESTARTS";
/// Restarts of the short form.
const SHORT: u64 = 6;
/// Sessions of each replica that are written at the same time.
const WRITERS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_restarts_of_the_server() {
    let restarts = std::env::var(RESTARTS).ok().and_then(|text| text.parse().ok());
    let server = Postgres::own();
    let mut config = StorageConfig::default();
    server.sql("CREATE DATABASE vault");
    config.postgres.url = Some(SecretString::new(server.url("vault")));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let opened = Storage::open(config.clone(), dir.path(), Arc::new(SystemClock)).await;
        replicas.push(opened.expect("it opens"));
    }
    let (load, mut writers) = (Arc::new(Load::default()), Vec::new());
    for replica in &replicas {
        let holder = log::holder(&replica.transport()).await;
        for _ in 0..WRITERS {
            let session = log::held_session(&replica.transport(), &holder).await;
            let transports = [0, 1].map(|replica: usize| replicas[replica].transport());
            let load = Arc::clone(&load);
            writers.push(tokio::spawn(write(transports, session, holder.clone(), load)));
        }
    }
    let restarted = Arc::clone(&load);
    let restarting = tokio::task::spawn_blocking(move || {
        for round in 0..restarts.unwrap_or(SHORT) {
            restart(&server, round, &restarted);
        }
        server
    });
    let server = restarting.await.expect("the server starts again");
    load.wait_for_more();
    load.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("it goes on until it is told to stop");
    }
    let acknowledged = load.acknowledged.lock().expect("no writer panicked").clone();
    assert_eq!(acknowledged.len(), 2 * WRITERS);
    for replica in &replicas {
        log::check(&replica.transport(), &acknowledged).await;
    }
    drop((replicas, server));
}

/// What the writers share.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    acknowledged: Mutex<Acknowledged>,
}

impl Load {
    fn count(&self) -> HashMap<String, usize> {
        let acknowledged = self.acknowledged.lock().expect("no writer panicked");
        acknowledged.iter().map(|(session, appends)| (session.clone(), appends.len())).collect()
    }

    /// Waits until every session has gone on.
    fn wait_for_more(&self) {
        let before = self.count();
        let until = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let now = self.count();
            let on = |session: &String| now[session] > before.get(session).copied().unwrap_or(0);
            if now.len() == 2 * WRITERS && now.keys().all(on) {
                return;
            }
            assert!(std::time::Instant::now() < until, "the service does not go on: {now:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Ends the server at some moment under load, in one of two ways, and starts it again.
fn restart(server: &Postgres, round: u64, load: &Load) {
    load.wait_for_more();
    let moment = round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    std::thread::sleep(Duration::from_millis(moment % 400));
    if round.is_multiple_of(2) {
        server.crash();
    } else {
        server.kill();
    }
    std::thread::sleep(Duration::from_millis(moment % 700));
    server.start_again();
}

/// Appends one after the other, each to the other replica than the one before; what was refused for
/// want of a server, or not answered, is repeated with its request id.
async fn write(transports: [Transport; 2], session: String, holder: String, load: Arc<Load>) {
    let mut journals = transports.map(JournalServiceClient::new);
    let mut n = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let request = log::append(&session, &holder, n);
        let request_id = request.request_id.clone();
        match journals[n % 2].append_events(request).await {
            Ok(answer) => {
                let sequence = answer.into_inner().first_sequence;
                let mut acknowledged = load.acknowledged.lock().expect("no writer panicked");
                acknowledged.entry(session.clone()).or_default().push((sequence, request_id));
                n += 1;
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
