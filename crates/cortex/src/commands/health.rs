//! `cortex health`: the standard gRPC health service, of the mesh or of one service.

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    cli::{Format, Global, Health, Service},
    connect::{Mesh, short},
    exit::Failure,
    output::{Output, Style},
};

/// Asks whether the services are ready; fails if one is not.
pub async fn run(global: &Global, health: Health) -> Result<(), Failure> {
    let output = Output::new(global);
    let mesh = match health.service {
        Some(service) => Mesh::at(&address(service, health.port_offset))?,
        None => Mesh::new(global)?,
    };
    let names = match health.service {
        Some(_) => vec![String::new()],
        None => names(),
    };
    let mut rows = Vec::new();
    let mut all_serving = true;
    for name in names {
        let status = ask(&mesh, &name).await?;
        all_serving &= status == ServingStatus::Serving;
        rows.push((shown(health.service, &name), status));
    }
    print(&output, global.output, &rows)?;
    if all_serving { Ok(()) } else { Err(Failure::other("not every service is ready")) }
}

/// What the mesh as a whole and each of its services answer to.
fn names() -> Vec<String> {
    let services = cortex_proto::descriptor_pool().services();
    std::iter::once(String::new())
        .chain(services.map(|service| service.full_name().to_owned()))
        .collect()
}

fn address(service: Service, offset: u16) -> String {
    format!("http://127.0.0.1:{}", service.ports()[0].saturating_add(offset))
}

async fn ask(mesh: &Mesh, name: &str) -> Result<ServingStatus, Failure> {
    let request = HealthCheckRequest { service: name.to_owned() };
    match HealthClient::new(mesh.transport.clone()).check(short(request)).await {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(ServingStatus::ServiceUnknown),
        Err(status) => Err(mesh.failure(&status)),
    }
}

fn shown(service: Option<Service>, name: &str) -> String {
    match (service, name) {
        (Some(service), _) => service.name().to_owned(),
        (None, "") => "everything".to_owned(),
        (None, name) => name.to_owned(),
    }
}

fn print(output: &Output, format: Format, rows: &[(String, ServingStatus)]) -> Result<(), Failure> {
    if format == Format::Json {
        let object: serde_json::Map<String, serde_json::Value> =
            rows.iter().map(|(name, status)| (name.clone(), word(*status).into())).collect();
        return output.line(&serde_json::Value::Object(object).to_string());
    }
    for (name, status) in rows {
        let style = if *status == ServingStatus::Serving { Style::Good } else { Style::Bad };
        output.line(&format!(
            "{}  {name}",
            output.styled(style, &format!("{:<11}", word(*status)))
        ))?;
    }
    Ok(())
}

fn word(status: ServingStatus) -> &'static str {
    match status {
        ServingStatus::Serving => "serving",
        ServingStatus::NotServing => "not_serving",
        ServingStatus::ServiceUnknown => "not_here",
        ServingStatus::Unknown => "unknown",
    }
}
