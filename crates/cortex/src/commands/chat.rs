//! `cortex chat`: a conversation in the terminal.
//!
//! The answer goes to standard output as it comes; what happens beside it goes to standard error. A
//! stream that breaks is resumed after the last event that was seen.

use std::{io::IsTerminal, time::Duration};

use cortex_proto::cortex::agent::v1::{
    CallOutcome, CreateSessionRequest, SendMessageRequest, SessionEvent, ToolResult,
    session_event::Event, session_service_client::SessionServiceClient, tool_call_event::Part,
    turn_service_client::TurnServiceClient,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tonic::{Code, Status};

use crate::{
    cli::{Chat, DEFAULT_URL, Format, Global},
    connect::{Mesh, short},
    exit::Failure,
    output::{Output, Style},
};

/// Pause before a broken stream is resumed.
const RESUME_PAUSE: Duration = Duration::from_millis(500);
/// Times that a stream is resumed without a new event in between.
const RESUMES: u32 = 60;

/// Sends the message, or every line that is typed.
pub async fn run(global: &Global, chat: Chat) -> Result<(), Failure> {
    let mesh = Mesh::new(global)?;
    let output = Output::new(global);
    let message = first_message(chat.message.clone()).await?;
    let session_id = match &chat.session {
        Some(id) => id.clone(),
        None => create(&mesh, &chat).await?,
    };
    let conversation = Conversation { mesh, output, format: global.output, session_id };
    let outcome = match message {
        Some(message) => conversation.say(&message).await,
        None => conversation.lines().await,
    };
    if global.output == Format::Table {
        let at = match global.url.as_str() {
            DEFAULT_URL => String::new(),
            _ if std::env::var_os("CORTEX_URL").is_some() => String::new(),
            url => format!("--url {url} "),
        };
        let again = format!("cortex {at}chat {} --session {}", chat.agent, conversation.session_id);
        conversation.output.note(&format!("\ngo on with: {again}"));
    }
    outcome
}

/// The message, from the command line or from a pipe. `None`: lines are typed at a terminal.
async fn first_message(given: Option<String>) -> Result<Option<String>, Failure> {
    let from_pipe =
        given.as_deref() == Some("-") || (given.is_none() && !std::io::stdin().is_terminal());
    if !from_pipe {
        return Ok(given);
    }
    let mut text = String::new();
    tokio::io::stdin()
        .read_to_string(&mut text)
        .await
        .map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::usage("there is no message on standard input"));
    }
    Ok(Some(text.to_owned()))
}

async fn create(mesh: &Mesh, chat: &Chat) -> Result<String, Failure> {
    let request = CreateSessionRequest {
        agent_name: chat.agent.clone(),
        user_id: chat.user.clone().unwrap_or_default(),
        metadata: r#"{"source":"cli"}"#.to_owned(),
        request_id: request_id(),
        ..Default::default()
    };
    let mut client = SessionServiceClient::new(mesh.transport.clone());
    let created = client.create_session(short(request)).await.map_err(|s| mesh.failure(&s))?;
    Ok(created.into_inner().session.unwrap_or_default().session_id)
}

/// New for every message; a repeated call with the same one is the same message.
fn request_id() -> String {
    cortex_core::MessageId::generate().into()
}

struct Conversation {
    mesh: Mesh,
    output: Output,
    format: Format,
    session_id: String,
}

impl Conversation {
    /// One message for each line that is typed, until the end of input.
    async fn lines(&self) -> Result<(), Failure> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        loop {
            self.output.write(&self.output.styled(Style::Bold, "> "))?;
            let line =
                lines.next_line().await.map_err(|error| Failure::other(error.to_string()))?;
            let Some(line) = line else { return Ok(()) };
            match line.trim() {
                "" => {}
                "/quit" | "/exit" => return Ok(()),
                message => {
                    if let Err(failure) = self.say(message).await {
                        crate::exit::report(&failure);
                    }
                }
            }
        }
    }

    /// Sends one message and shows what happens until its turn ends.
    async fn say(&self, message: &str) -> Result<(), Failure> {
        let mut request = SendMessageRequest {
            session_id: self.session_id.clone(),
            content: message.to_owned(),
            request_id: request_id(),
            ..Default::default()
        };
        let mut shown = Shown::default();
        let mut resumes = 0;
        loop {
            let before = request.after_sequence;
            match self.stream(&mut request, &mut shown).await {
                Ok(outcome) => return outcome,
                Err(status) if is_broken(&status) && resumes < RESUMES => {
                    resumes = if request.after_sequence > before { 0 } else { resumes + 1 };
                    self.output.progress("the connection broke; resuming…");
                    tokio::time::sleep(RESUME_PAUSE).await;
                    self.output.clear();
                }
                Err(status) => return Err(self.mesh.failure(&status)),
            }
        }
    }

    async fn stream(
        &self,
        request: &mut SendMessageRequest,
        shown: &mut Shown,
    ) -> Result<Result<(), Failure>, Status> {
        let mut client = TurnServiceClient::new(self.mesh.transport.clone());
        let mut events = client.send_message(request.clone()).await?.into_inner();
        while let Some(answer) = events.message().await? {
            let Some(event) = answer.event else { continue };
            request.after_sequence = event.sequence;
            let ended = match self.format {
                Format::Json => {
                    if let Err(failure) = self.output.json("cortex.agent.v1.SessionEvent", &event) {
                        return Ok(Err(failure));
                    }
                    outcome(&event)
                }
                Format::Table => match self.show(&event, shown) {
                    Ok(()) => outcome(&event),
                    Err(failure) => Some(Err(failure)),
                },
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
        Err(Status::unavailable("the stream ended before its turn"))
    }

    fn show(&self, event: &SessionEvent, shown: &mut Shown) -> Result<(), Failure> {
        match &event.event {
            Some(Event::ContentDelta(delta)) => {
                shown.midline = !delta.text.ends_with('\n');
                self.output.write(&delta.text)
            }
            Some(Event::ToolCall(call)) => match &call.part {
                Some(Part::Completed(completed)) => {
                    self.remark(shown, &format!("→ {} {}", completed.name, completed.arguments))
                }
                _ => Ok(()),
            },
            Some(Event::ToolResult(result)) => self.remark(shown, &tool_result(result)),
            Some(Event::MessageQueued(queued)) => {
                let waiting = queued.queue_length - 1;
                self.remark(
                    shown,
                    &format!("waiting; {waiting} messages and a turn are before this one"),
                )
            }
            Some(Event::AttemptRestarted(cut)) => {
                self.remark(shown, &format!("the answer was cut and begins again: {}", cut.reason))
            }
            Some(Event::AttemptSealed(cut)) => {
                self.remark(shown, &format!("the answer was cut: {}", cut.reason))
            }
            Some(Event::Warning(warning)) => self.remark(shown, &warning.message),
            Some(Event::TurnCompleted(_) | Event::TurnFailed(_) | Event::TurnCancelled(_)) => {
                self.end_line(shown)
            }
            _ => Ok(()),
        }
    }

    /// A remark on a line of its own.
    fn remark(&self, shown: &mut Shown, text: &str) -> Result<(), Failure> {
        self.end_line(shown)?;
        self.output.line(&self.output.styled(Style::Dim, text))
    }

    fn end_line(&self, shown: &mut Shown) -> Result<(), Failure> {
        if std::mem::take(&mut shown.midline) { self.output.write("\n") } else { Ok(()) }
    }
}

/// What the terminal shows.
#[derive(Default)]
struct Shown {
    /// The last line is not ended yet.
    midline: bool,
}

fn tool_result(result: &ToolResult) -> String {
    let took = match result.duration_seconds {
        seconds if seconds > 0.0 => format!(" ({seconds:.2} s)"),
        _ => String::new(),
    };
    let said = if result.result.is_empty() { &result.error } else { &result.result };
    let sign = if result.outcome() == CallOutcome::Succeeded { "←" } else { "✗" };
    format!("{sign} {} {said}{took}", result.name)
}

/// How the turn ended, if this event ends it.
fn outcome(event: &SessionEvent) -> Option<Result<(), Failure>> {
    match event.event.as_ref()? {
        Event::TurnCompleted(_) => Some(Ok(())),
        Event::TurnFailed(failed) => Some(Err(Failure::turn(format!(
            "the turn failed: {} ({})",
            failed.message, failed.reason
        )))),
        Event::TurnCancelled(cancelled) => {
            Some(Err(Failure::turn(format!("the turn was cancelled: {}", cancelled.reason))))
        }
        Event::MessageWithdrawn(withdrawn) => {
            Some(Err(Failure::turn(format!("the message was withdrawn: {}", withdrawn.reason))))
        }
        _ => None,
    }
}

/// Whether the stream broke, as opposed to being refused.
fn is_broken(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
}
