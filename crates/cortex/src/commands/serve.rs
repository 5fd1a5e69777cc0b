//! `cortex serve`: one service in this process.

use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Global, Serve, Service},
    data_dir::DataDir,
    exit::Failure,
    output::Output,
    services::{self, Parts, Peers},
    settings,
};

/// Runs one service until a signal.
pub async fn run(global: &Global, serve: Serve) -> Result<(), Failure> {
    let settings = settings::load(global, Some(&serve.serving))?.value;
    let telemetry = super::up::telemetry(&settings)?;
    let output = Output::new(global);
    let data_dir = match serve.service {
        Service::Storage => Some(DataDir::take(&settings.data_dir()?)?),
        _ => None,
    };
    let peers = Peers::at_urls(&settings)?;
    let parts = Parts { settings: &settings, data_dir: data_dir.as_ref(), peers: &peers };
    let built = services::build(serve.service, &parts).await?;
    let bound = services::bind(vec![built], settings.host, settings.port_offset).await?;
    for service in &bound {
        for address in &service.addresses {
            output.note(&format!("{} listens on http://{address}", service.service.name()));
        }
    }
    let stop = CancellationToken::new();
    let signal = cortex_rpc::shutdown_on_signal();
    let stopping = stop.clone();
    tokio::spawn(async move {
        signal.await;
        stopping.cancel();
    });
    services::run(bound, stop).await;
    telemetry.shutdown().await;
    Ok(())
}
