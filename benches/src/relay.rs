//! What a token costs on its way from the model through llm, agent and journal to a client.
//!
//! The processor time of the whole `cortex up` process, kernel included, per token of four characters.
//! The client is this process, over TCP.

use std::time::{Duration, Instant};

use cortex_proto::cortex::{
    agent::v1::{
        CreateSessionRequest, SendMessageRequest, session_event::Event,
        session_service_client::SessionServiceClient, turn_service_client::TurnServiceClient,
    },
    llm::v1::{
        CompleteRequest, Message, Role, complete_response,
        completion_service_client::CompletionServiceClient,
    },
};

use cortex_rpc::Transport;

use crate::{
    Arguments, Outcome, manifests,
    mesh::{Mesh, Plan},
    process::cpu_time,
    report::{Figure, progress},
};

/// Processor time per token, in microseconds.
pub(crate) const LIMIT: f64 = 150.0;
/// Characters of a token of the built-in model.
pub(crate) const CHARACTERS: usize = 4;
/// What a relayed token is compared with.
pub(crate) const ALONE: &str = "the llm service's stream alone";

/// One speed of the model.
#[derive(Debug, Clone, Copy)]
struct Speed {
    name: &'static str,
    title: &'static str,
    delay: Duration,
    tokens: usize,
    rounds: usize,
}

/// Every speed.
pub(crate) async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    let speeds = [
        Speed {
            name: "relay",
            title: "a token relayed, as fast as it goes",
            delay: Duration::ZERO,
            tokens: 50_000,
            rounds: 7,
        },
        Speed {
            name: "relay_3ms",
            title: "a token relayed, one each 3 ms",
            delay: Duration::from_millis(3),
            tokens: 2_000,
            rounds: 5,
        },
        Speed {
            name: "relay_20ms",
            title: "a token relayed, one each 20 ms",
            delay: Duration::from_millis(20),
            tokens: 500,
            rounds: 3,
        },
    ];
    let mut figures = Vec::new();
    for speed in speeds {
        let rounds = if arguments.quick { 2 } else { speed.rounds };
        figures.extend(one_speed(arguments, Speed { rounds, ..speed }).await?);
    }
    Ok(figures)
}

async fn one_speed(arguments: &Arguments, speed: Speed) -> Outcome<Vec<Figure>> {
    progress(speed.title);
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("manifests");
    manifests::write(&root)?;
    let delay = format!("{}ms", speed.delay.as_millis());
    let plan = Plan {
        environment: vec![("CORTEX_LLM__REHEARSAL__TOKEN_DELAY", delay)],
        ..Plan::up(&arguments.cortex, &root, directory.path())
    };
    let mesh = Mesh::start(&plan).await?;
    let message = format!("rehearse {} tokens", speed.tokens);
    // The first turn of a process loads what the others have.
    ask(&mesh, manifests::AGENT, "rehearse 500 tokens").await?;
    complete(&mesh, "rehearse 500 tokens").await?;
    let (mut relayed, mut alone, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..speed.rounds {
        alone.push(cost(&mesh, speed.tokens, async || complete(&mesh, &message).await).await?.0);
        let asked = async || ask(&mesh, manifests::AGENT, &message).await;
        let (cost, answer) = cost(&mesh, speed.tokens, asked).await?;
        relayed.push(cost);
        events.push(speed.tokens as f64 / answer.len() as f64);
    }
    let together = crate::stats::median(&events);
    let title = format!("{} ({together:.1} an event)", speed.title);
    let figure = Figure::new(speed.name, title, "us", &relayed).at_most(LIMIT);
    Ok(vec![figure.beside(ALONE, &alone)])
}

/// A piece of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delta {
    /// Characters of its text.
    pub(crate) characters: usize,
    /// When it came.
    pub(crate) at: Instant,
}

impl Delta {
    fn of(text: &str) -> Self {
        Self { characters: text.chars().count(), at: Instant::now() }
    }
}

/// The processor time per token of one answer, in microseconds.
async fn cost(
    mesh: &Mesh,
    tokens: usize,
    answer: impl AsyncFnOnce() -> Outcome<Vec<Delta>>,
) -> Outcome<(f64, Vec<Delta>)> {
    let before = cpu_time(mesh.id())?;
    let answer = answer().await?;
    let spent = cpu_time(mesh.id())?.saturating_sub(before);
    check(&answer, tokens)?;
    Ok((spent.as_secs_f64() * 1e6 / tokens as f64, answer))
}

/// Fails when not every token arrived.
pub(crate) fn check(answer: &[Delta], tokens: usize) -> Outcome<()> {
    let characters: usize = answer.iter().map(|delta| delta.characters).sum();
    if characters == tokens * CHARACTERS {
        return Ok(());
    }
    Err(format!("{characters} characters of {tokens} tokens arrived").into())
}

/// A session on a connection of its own.
pub(crate) struct Session {
    transport: Transport,
    session_id: String,
}

/// A new session of an agent.
pub(crate) async fn session(mesh: &Mesh, agent: &str) -> Outcome<Session> {
    let transport = mesh.transport(8085)?;
    let create = CreateSessionRequest { agent_name: agent.to_owned(), ..Default::default() };
    let created = SessionServiceClient::new(transport.clone()).create_session(create).await?;
    let session_id = created.into_inner().session.unwrap_or_default().session_id;
    Ok(Session { transport, session_id })
}

impl Session {
    /// A message, until its turn is completed.
    pub(crate) async fn ask(&self, content: &str) -> Outcome<Vec<Delta>> {
        let (session_id, content) = (self.session_id.clone(), content.to_owned());
        let send = SendMessageRequest { session_id, content, ..Default::default() };
        let mut client = TurnServiceClient::new(self.transport.clone());
        let mut events = client.send_message(send).await?.into_inner();
        let mut answer = Vec::new();
        while let Some(message) = events.message().await? {
            match message.event.and_then(|event| event.event) {
                Some(Event::ContentDelta(delta)) => answer.push(Delta::of(&delta.text)),
                Some(Event::TurnCompleted(_)) => return Ok(answer),
                Some(Event::TurnFailed(failed)) => return Err(format!("{failed:?}").into()),
                _ => {}
            }
        }
        Err("the stream of events ended before the turn did".into())
    }
}

/// A message to an agent in a new session, until its turn is completed.
pub(crate) async fn ask(mesh: &Mesh, agent: &str, content: &str) -> Outcome<Vec<Delta>> {
    session(mesh, agent).await?.ask(content).await
}

/// A completion of the llm service, without an agent.
pub(crate) async fn complete(mesh: &Mesh, content: &str) -> Outcome<Vec<Delta>> {
    let message =
        Message { role: Role::User.into(), content: content.to_owned(), ..Default::default() };
    let request = CompleteRequest {
        model: "rehearsal/rehearsal".to_owned(),
        messages: vec![message],
        stream: true,
        ..Default::default()
    };
    let mut client = CompletionServiceClient::new(mesh.transport(8081)?);
    let mut events = client.complete(request).await?.into_inner();
    let mut answer = Vec::new();
    while let Some(response) = events.message().await? {
        match response.event {
            Some(complete_response::Event::ContentDelta(delta)) => {
                answer.push(Delta::of(&delta.text));
            }
            Some(complete_response::Event::Finished(_)) => return Ok(answer),
            _ => {}
        }
    }
    Err("the completion ended before its answer did".into())
}
