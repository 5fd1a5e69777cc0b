//! `cortex session`.

use cortex_proto::cortex::agent::v1::{
    EndSessionRequest, ForkSessionRequest, GetHistoryRequest, GetSessionRequest, HistoryMessage,
    ListSessionsRequest, SessionInfo, SessionStatus, session_service_client::SessionServiceClient,
};

use crate::{
    cli::{Format, Global, Session, SessionCommand},
    commands::transfer,
    connect::{Mesh, short},
    exit::Failure,
    output::{Output, Style},
};

/// Lists, shows, forks, exports, imports or ends sessions.
pub async fn run(global: &Global, command: Session) -> Result<(), Failure> {
    let mesh = Mesh::new(global)?;
    let output = Output::new(global);
    match command.command {
        SessionCommand::List { agent, status, limit } => {
            list(&mesh, &output, global.output, agent, status.as_deref(), limit).await
        }
        SessionCommand::Show { id, limit } => show(&mesh, &output, global.output, id, limit).await,
        SessionCommand::Fork { id, at } => fork(&mesh, &output, global.output, id, at).await,
        SessionCommand::Export { id, file } => transfer::export(&mesh, &output, id, file).await,
        SessionCommand::Import { file } => {
            transfer::import(&mesh, &output, global.output, &file).await
        }
        SessionCommand::End { id, reason } => end(&mesh, &output, global.output, id, reason).await,
    }
}

async fn list(
    mesh: &Mesh,
    output: &Output,
    format: Format,
    agent: Option<String>,
    status: Option<&str>,
    limit: u16,
) -> Result<(), Failure> {
    let request = ListSessionsRequest {
        agent_name: agent.unwrap_or_default(),
        status: status.map_or(SessionStatus::Unspecified, status_of).into(),
        page_size: limit.into(),
        ..Default::default()
    };
    let mut client = SessionServiceClient::new(mesh.transport.clone());
    let answer =
        client.list_sessions(short(request)).await.map_err(|s| mesh.failure(&s))?.into_inner();
    if format == Format::Json {
        return output.json("cortex.agent.v1.ListSessionsResponse", &answer);
    }
    let rows: Vec<Vec<String>> = answer.sessions.iter().map(row).collect();
    output.table(&["SESSION", "AGENT", "STATUS", "MESSAGES", "UPDATED"], &rows)
}

async fn show(
    mesh: &Mesh,
    output: &Output,
    format: Format,
    id: String,
    limit: u16,
) -> Result<(), Failure> {
    let mut client = SessionServiceClient::new(mesh.transport.clone());
    let request = GetSessionRequest { session_id: id.clone() };
    let session =
        client.get_session(short(request)).await.map_err(|s| mesh.failure(&s))?.into_inner();
    let request =
        GetHistoryRequest { session_id: id, page_size: limit.into(), ..Default::default() };
    let history =
        client.get_history(short(request)).await.map_err(|s| mesh.failure(&s))?.into_inner();
    if format == Format::Json {
        output.json("cortex.agent.v1.GetSessionResponse", &session)?;
        return output.json("cortex.agent.v1.GetHistoryResponse", &history);
    }
    let session = session.session.unwrap_or_default();
    output.table(&["SESSION", "AGENT", "STATUS", "MESSAGES", "UPDATED"], &[row(&session)])?;
    history.messages.iter().try_for_each(|message| said(output, message))
}

fn said(output: &Output, message: &HistoryMessage) -> Result<(), Failure> {
    output.line("")?;
    output.line(&output.styled(Style::Bold, &message.role))?;
    for call in &message.tool_calls {
        output
            .line(&output.styled(Style::Dim, &format!("calls {} {}", call.name, call.arguments)))?;
    }
    if message.content.is_empty() { Ok(()) } else { output.line(&message.content) }
}

async fn end(
    mesh: &Mesh,
    output: &Output,
    format: Format,
    id: String,
    reason: String,
) -> Result<(), Failure> {
    let mut client = SessionServiceClient::new(mesh.transport.clone());
    let request = EndSessionRequest { session_id: id, reason };
    let answer =
        client.end_session(short(request)).await.map_err(|s| mesh.failure(&s))?.into_inner();
    match format {
        Format::Json => output.json("cortex.agent.v1.EndSessionResponse", &answer),
        Format::Table => output.line(&format!("{} has ended", answer.session_id)),
    }
}

async fn fork(
    mesh: &Mesh,
    output: &Output,
    format: Format,
    id: String,
    at: Option<i64>,
) -> Result<(), Failure> {
    let mut client = SessionServiceClient::new(mesh.transport.clone());
    let request = ForkSessionRequest {
        session_id: id.clone(),
        sequence: at.unwrap_or(0),
        ..Default::default()
    };
    let answer =
        client.fork_session(short(request)).await.map_err(|s| mesh.failure(&s))?.into_inner();
    if format == Format::Json {
        return output.json("cortex.agent.v1.ForkSessionResponse", &answer);
    }
    let session = answer.session.unwrap_or_default();
    output.line(&format!("{} continues {id} from {}", session.session_id, session.head_sequence))
}

fn row(session: &SessionInfo) -> Vec<String> {
    vec![
        session.session_id.clone(),
        session.agent_name.clone(),
        status_name(session.status()).to_owned(),
        session.message_count.to_string(),
        session.updated_at.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}

fn status_name(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Active => "active",
        SessionStatus::Paused => "paused",
        SessionStatus::Ended => "ended",
        SessionStatus::Unspecified => "unknown",
    }
}

fn status_of(name: &str) -> SessionStatus {
    match name {
        "active" => SessionStatus::Active,
        "paused" => SessionStatus::Paused,
        "ended" => SessionStatus::Ended,
        _ => SessionStatus::Unspecified,
    }
}
