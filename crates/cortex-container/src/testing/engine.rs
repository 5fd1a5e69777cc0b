//! An engine in memory. What a container does is said by its image.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
    time::SystemTime,
};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    ports::{
        Attached, ContainerEngine, ContainerState, ContainerStats, ContainerSummary,
        EngineCapabilities, EngineError, EngineVersion, ImageBuild, Output, Signal, Stream,
    },
    sandbox::{ContainerId, ContainerSpec, Labels},
};

/// An engine in memory.
///
/// | image | what its container does |
/// |---|---|
/// | `fake/answer` | writes `{"success":true}` and exits with 0 |
/// | `fake/sleep` | runs until SIGKILL |
/// | `fake/obedient` | runs until any signal |
/// | `fake/immortal` | runs whatever is sent |
/// | `fake/flood` | writes 64 KiB, and then runs until SIGKILL |
#[derive(Default)]
pub(crate) struct FakeEngine(Mutex<State>);

#[derive(Default)]
struct State {
    containers: BTreeMap<ContainerId, Fake>,
    created: usize,
    calls: Vec<String>,
    faults: HashMap<&'static str, Vec<EngineError>>,
    away: bool,
}

struct Fake {
    spec: ContainerSpec,
    state: ContainerState,
    running: watch::Sender<bool>,
    output: Option<mpsc::Sender<Result<Output, EngineError>>>,
}

impl FakeEngine {
    /// The next `call` fails with `error`.
    pub(crate) fn fail(&self, call: &'static str, error: EngineError) {
        self.state().faults.entry(call).or_default().push(error);
    }

    /// Whether nothing answers.
    pub(crate) fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// How many containers were ever made.
    pub(crate) fn created(&self) -> usize {
        self.state().created
    }

    /// How many containers there are.
    pub(crate) fn present(&self) -> usize {
        self.state().containers.len()
    }

    /// The calls that change something, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// A container that somebody else has left.
    pub(crate) fn leave(&self, labels: Labels) -> ContainerId {
        let mut state = self.state();
        let spec = ContainerSpec {
            name: "left".into(),
            image: "fake/sleep".into(),
            entrypoint: None,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            labels,
            limits: crate::tool::LimitsRequest::default()
                .resolve(&crate::config::LimitsConfig::default()),
        };
        state.add(spec)
    }

    /// The connections to a running container break.
    pub(crate) fn break_off(&self) {
        for fake in self.state().containers.values_mut() {
            if let Some(output) = fake.output.take() {
                let lost = EngineError::Lost { call: "attach", reason: "connection reset".into() };
                output.try_send(Err(lost)).unwrap();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn enter(&self, call: &'static str) -> Result<MutexGuard<'_, State>, EngineError> {
        let mut state = self.state();
        if let Some(fault) = state.faults.get_mut(call).and_then(Vec::pop) {
            return Err(fault);
        }
        if state.away {
            let reason = "no such file".into();
            return Err(EngineError::Unavailable { host: "fake".into(), reason });
        }
        Ok(state)
    }
}

impl State {
    fn add(&mut self, spec: ContainerSpec) -> ContainerId {
        self.created += 1;
        let id = ContainerId::parse(&format!("{:064x}", self.created)).unwrap();
        let fake = Fake {
            spec,
            state: ContainerState::default(),
            running: watch::Sender::new(false),
            output: None,
        };
        self.containers.insert(id.clone(), fake);
        id
    }

    fn fake(&mut self, id: &ContainerId) -> Result<&mut Fake, EngineError> {
        let missing = || EngineError::Missing { message: "no such container".into() };
        self.containers.get_mut(id).ok_or_else(missing)
    }
}

impl Fake {
    fn write(&self, data: &'static [u8]) {
        let piece = Output { stream: Stream::Stdout, data: Bytes::from_static(data) };
        if let Some(output) = &self.output {
            output.try_send(Ok(piece)).unwrap();
        }
    }

    fn end(&mut self, code: i64) {
        self.state.running = false;
        self.state.exit_code = code;
        self.output = None;
        self.running.send_replace(false);
    }
}

#[tonic::async_trait]
impl ContainerEngine for FakeEngine {
    async fn version(&self) -> Result<EngineVersion, EngineError> {
        self.enter("version").map(|_| EngineVersion::default())
    }

    async fn capabilities(&self) -> Result<EngineCapabilities, EngineError> {
        self.enter("capabilities").map(|_| EngineCapabilities::default())
    }

    async fn image_id(&self, reference: &str) -> Result<Option<String>, EngineError> {
        let known = reference.starts_with("fake/");
        self.enter("image").map(|_| known.then(|| reference.to_owned()))
    }

    async fn pull_image(&self, _: &str) -> Result<(), EngineError> {
        Err(EngineError::Refused { call: "pull", message: "there is no registry".into() })
    }

    async fn build_image(&self, _: ImageBuild) -> Result<(), EngineError> {
        Err(EngineError::Refused { call: "build", message: "there is no builder".into() })
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        assert_ne!(spec.image, "fake/panic", "a defect of the service");
        let mut state = self.enter("create")?;
        state.calls.push("create".into());
        Ok(state.add(spec.clone()))
    }

    async fn attach(&self, id: &ContainerId) -> Result<Attached, EngineError> {
        let (sender, receiver) = mpsc::channel(16);
        let mut state = self.enter("attach")?;
        state.fake(id)?.output = Some(sender);
        let input = Box::pin(tokio::io::sink());
        Ok(Attached { output: ReceiverStream::new(receiver).boxed(), input })
    }

    async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        let mut state = self.enter("start")?;
        state.calls.push("start".into());
        let fake = state.fake(id)?;
        fake.state = ContainerState { running: true, started: true, ..Default::default() };
        fake.running.send_replace(true);
        match fake.spec.image.as_str() {
            "fake/answer" => {
                fake.write(b"{\"success\":true}");
                fake.end(0);
            }
            "fake/flood" => fake.write(&[b'x'; 64 << 10]),
            _ => {}
        }
        Ok(())
    }

    async fn wait(&self, id: &ContainerId) -> Result<(), EngineError> {
        let mut running = self.enter("wait")?.fake(id)?.running.subscribe();
        running.wait_for(|running| !running).await.ok();
        Ok(())
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<ContainerState>, EngineError> {
        Ok(self.enter("inspect")?.fake(id).ok().map(|fake| fake.state.clone()))
    }

    async fn kill(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError> {
        let mut state = self.enter("kill")?;
        state.calls.push(signal.name().into());
        let fake = state.fake(id)?;
        let deadly = match fake.spec.image.as_str() {
            "fake/immortal" => false,
            "fake/obedient" => true,
            _ => signal == Signal::Kill,
        };
        if deadly {
            fake.end(if signal == Signal::Kill { 137 } else { 143 });
        }
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        let mut state = self.enter("remove")?;
        if let Some(mut fake) = state.containers.remove(id) {
            state.calls.push("remove".into());
            fake.end(137);
        }
        Ok(())
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerSummary>, EngineError> {
        let state = self.enter("list")?;
        let carries = |fake: &&Fake| {
            labels.iter().all(|label| fake.spec.labels.get_key_value(label.0) == Some(label))
        };
        let summary = |(id, fake): (&ContainerId, &Fake)| ContainerSummary {
            id: id.clone(),
            name: fake.spec.name.clone(),
            labels: fake.spec.labels.clone(),
            state: String::new(),
            created_at: SystemTime::UNIX_EPOCH,
        };
        Ok(state.containers.iter().filter(|(_, fake)| carries(fake)).map(summary).collect())
    }

    async fn stats(&self, _: &ContainerId) -> Result<Option<ContainerStats>, EngineError> {
        Ok(None)
    }
}
