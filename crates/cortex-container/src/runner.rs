//! One container from create to its end: feeds it, reads it, bounds it, and says what ended it.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};

use crate::{
    admission::Starting,
    ports::{Attached, ContainerEngine, ContainerState, EngineError, Output, Signal},
    runs::{Ending, Live, Termination, Verdict},
    sandbox::{ContainerId, ContainerSpec},
};

/// After its end, for what a container wrote to arrive.
const DRAIN: Duration = Duration::from_secs(2);
/// From SIGKILL until a container that is still there counts as lost. The kernel takes milliseconds.
const DEATH: Duration = Duration::from_secs(10);
/// Between two tries to reach an engine that broke off.
const RETRY: Duration = Duration::from_millis(250);

/// Bounds of a run that are the same for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes on both streams at which a tool is killed.
    pub output_limit: u64,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// How long an engine that breaks off is waited for.
    pub engine_patience: Duration,
}

/// A container that has run, or has not.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How it ended.
    pub ending: Ending,
    /// What is left of it.
    pub left: Option<ContainerId>,
}

/// Runs one container.
pub(crate) struct Runner {
    engine: Arc<dyn ContainerEngine>,
    live: Arc<Live>,
    bounds: Bounds,
}

/// Why we ended a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Timeout,
    Cancelled,
    OutputLimit,
}

/// What ends a container, and by when.
struct Reins<'a> {
    engine: &'a dyn ContainerEngine,
    id: &'a ContainerId,
    cause: Option<Cause>,
    killed: bool,
    alarm: Pin<Box<Sleep>>,
    signals: FuturesUnordered<BoxFuture<'a, Result<(), EngineError>>>,
}

impl<'a> Reins<'a> {
    fn new(engine: &'a dyn ContainerEngine, id: &'a ContainerId, deadline: Instant) -> Self {
        let alarm = Box::pin(sleep_until(deadline));
        Self { engine, id, cause: None, killed: false, alarm, signals: FuturesUnordered::new() }
    }

    /// Kills the container, unless its end is under way.
    fn stop(&mut self, cause: Cause) {
        if self.cause.is_none() {
            self.cause = Some(cause);
            self.send(Signal::Kill, DEATH);
        }
    }

    /// The alarm went off: the next step towards the container's end. `false`: there is none.
    fn tighten(&mut self, grace: Duration) -> bool {
        if self.killed {
            return false;
        }
        if self.cause.is_none() {
            self.cause = Some(Cause::Timeout);
            self.send(Signal::Term, grace);
        } else {
            self.send(Signal::Kill, DEATH);
        }
        true
    }

    fn send(&mut self, signal: Signal, wait: Duration) {
        self.killed = signal == Signal::Kill;
        self.alarm.as_mut().reset(Instant::now() + wait);
        self.signals.push(self.engine.kill(self.id, signal));
    }
}

/// How following a container ended.
enum Followed {
    /// It no longer runs.
    Over(Option<Cause>),
    /// The engine broke off, or cannot kill it.
    Lost(String),
}

impl Runner {
    /// A runner for `live` on `engine`.
    pub(crate) fn new(engine: Arc<dyn ContainerEngine>, live: Arc<Live>, bounds: Bounds) -> Self {
        Self { engine, live, bounds }
    }

    /// Runs the container until it has ended, one way or another. Not cancel-safe: a caller that
    /// stops polling leaves the container to the sweep.
    pub(crate) async fn run(self, spec: &ContainerSpec, input: Bytes, starting: Starting) -> Ran {
        let id = match self.engine.create(spec).await {
            Ok(id) => id,
            // Nothing was started; if there is a container after all, the sweep finds it.
            Err(error) => return Ran { ending: self.not_started(&error), left: None },
        };
        match self.start(&id).await {
            Err(ending) => Ran { ending, left: Some(id) },
            Ok(attached) => {
                drop(starting);
                let begun = Instant::now();
                let followed = self.follow(&id, attached, input, spec, begun).await;
                self.conclude(id, followed, spec, begun).await
            }
        }
    }

    async fn start(&self, id: &ContainerId) -> Result<Attached, Ending> {
        let attached = match self.engine.attach(id).await {
            Ok(attached) => attached,
            Err(error) => return Err(self.not_started(&error)),
        };
        if self.live.stopping().is_cancelled() {
            return Err(cancelled_before_start());
        }
        match self.engine.start(id).await {
            Ok(()) => {
                self.live.started(SystemTime::now(), id.clone());
                Ok(attached)
            }
            Err(error) if error.is_definite() => Err(self.not_started(&error)),
            Err(error) => Err(self.lost(id, &error.to_string()).await),
        }
    }

    fn not_started(&self, error: &EngineError) -> Ending {
        let tool = self.live.tool_name();
        let error = format!("the container of '{tool}' could not be started: {error}");
        Ending::not_started(Verdict::Failed, error, SystemTime::now())
    }

    /// Feeds and reads the container until it no longer runs.
    async fn follow(
        &self,
        id: &ContainerId,
        attached: Attached,
        input: Bytes,
        spec: &ContainerSpec,
        begun: Instant,
    ) -> Followed {
        let Attached { mut output, input: mut stdin } = attached;
        // A tool that does not read its input closes it: no error of ours.
        let mut feeding = pin!(async move {
            let _ = stdin.write_all(&input).await;
            let _ = stdin.shutdown().await;
        });
        let mut over = pin!(self.engine.wait(id));
        let mut reins = Reins::new(&*self.engine, id, begun + spec.limits.timeout);
        let (mut fed, mut open) = (false, true);
        loop {
            // Signals are sent beside reading: an engine may answer only when the output is read.
            tokio::select! {
                ended = &mut over => match ended {
                    Ok(()) => break,
                    Err(error) => return Followed::Lost(error.to_string()),
                },
                piece = output.next(), if open => match piece {
                    Some(Ok(piece)) => if self.live.wrote(&piece) > self.bounds.output_limit {
                        reins.stop(Cause::OutputLimit);
                    },
                    Some(Err(error)) => return Followed::Lost(error.to_string()),
                    None => open = false,
                },
                () = &mut feeding, if !fed => fed = true,
                () = self.live.stopping().cancelled(), if reins.cause.is_none() => {
                    reins.stop(Cause::Cancelled);
                }
                () = &mut reins.alarm => if !reins.tighten(self.bounds.stop_grace) {
                    return Followed::Lost("the container does not end when killed".into());
                },
                Some(sent) = reins.signals.next(), if !reins.signals.is_empty() => {
                    if let Err(error) = sent {
                        let execution = self.live.execution_id();
                        tracing::warn!(%execution, %error, "a signal was not sent");
                    }
                }
            }
        }
        let cause = reins.cause;
        if open {
            self.drain(output).await;
        }
        Followed::Over(cause)
    }

    /// Reads what the container wrote last.
    async fn drain(&self, mut output: BoxStream<'static, Result<Output, EngineError>>) {
        let rest = async {
            while let Some(Ok(piece)) = output.next().await {
                self.live.wrote(&piece);
            }
        };
        // What has not arrived by then is lost; what was read so far stays.
        let _ = timeout(DRAIN, rest).await;
    }

    async fn conclude(
        &self,
        id: ContainerId,
        followed: Followed,
        spec: &ContainerSpec,
        begun: Instant,
    ) -> Ran {
        let state = match &followed {
            Followed::Over(_) => self.engine.inspect(&id).await,
            Followed::Lost(_) => Ok(None),
        };
        let mut ending = match (followed, state) {
            (Followed::Over(cause), Ok(Some(state))) => self.judge(cause, &state, spec),
            (Followed::Lost(reason), _) => self.lost(&id, &reason).await,
            (_, Ok(None)) => self.lost(&id, "the container was removed by somebody else").await,
            (_, Err(error)) => self.lost(&id, &error.to_string()).await,
        };
        ending.duration = begun.elapsed();
        Ran { ending, left: Some(id) }
    }

    /// Makes sure that nothing runs any more, as far as the engine can be reached in time.
    async fn lost(&self, id: &ContainerId, reason: &str) -> Ending {
        let give_up = Instant::now() + self.bounds.engine_patience;
        while let Err(error) = self.engine.remove(id).await {
            if Instant::now() >= give_up {
                let execution = self.live.execution_id();
                tracing::warn!(%execution, %error, "a lost container is left to the sweep");
                break;
            }
            sleep(RETRY).await;
        }
        let error = format!("the run was lost, and whether it did its work is not known: {reason}");
        Ending::lost(error, SystemTime::now())
    }

    /// What ended a container that no longer runs.
    fn judge(&self, cause: Option<Cause>, state: &ContainerState, spec: &ContainerSpec) -> Ending {
        let limits = &spec.limits;
        let code = i32::try_from(state.exit_code).unwrap_or(i32::MAX);
        let by_itself = |verdict, termination, error| Ending {
            verdict,
            termination,
            exit_code: Some(code),
            result: self.live.json(),
            error,
            completed_at: SystemTime::now(),
            duration: Duration::ZERO,
            memory_used_mb: None,
        };
        let stopped = |verdict, termination, error| Ending {
            exit_code: None,
            ..by_itself(verdict, termination, error)
        };
        let memory = limits.memory_mb;
        match cause {
            Some(Cause::Timeout) => {
                let error = format!(
                    "the tool ran into its time limit of {} s and was killed",
                    limits.timeout.as_secs_f64()
                );
                stopped(Verdict::TimedOut, Termination::Timeout, error)
            }
            Some(Cause::Cancelled) => {
                stopped(Verdict::Cancelled, Termination::Cancelled, "the run was cancelled".into())
            }
            Some(Cause::OutputLimit) => {
                let limit = self.bounds.output_limit;
                let error = format!("the tool wrote more than {limit} bytes and was killed");
                stopped(Verdict::Failed, Termination::OutputLimit, error)
            }
            None if state.out_of_memory && code == 0 => by_itself(
                Verdict::Success,
                Termination::OutOfMemory,
                format!(
                    "a child process was killed at the memory limit of {memory} MiB; the tool itself exited with 0"
                ),
            ),
            None if state.out_of_memory => {
                let error =
                    format!("the tool reached its memory limit of {memory} MiB and was killed");
                stopped(Verdict::Failed, Termination::OutOfMemory, error)
            }
            None if code == 0 => by_itself(Verdict::Success, Termination::Exit, String::new()),
            None => match signal_name(code) {
                Some(name) => by_itself(
                    Verdict::Failed,
                    Termination::Signal,
                    self.said(&format!("ended by {name}")),
                ),
                None => by_itself(
                    Verdict::Failed,
                    Termination::Exit,
                    self.said(&format!("exit code {code}")),
                ),
            },
        }
    }

    /// `what`, with the last line of standard error.
    fn said(&self, what: &str) -> String {
        const LONGEST: usize = 300;
        match self.live.last_error_line() {
            Some(line) => format!("{what}: {}", line.chars().take(LONGEST).collect::<String>()),
            None => what.to_owned(),
        }
    }
}

/// The ending of a run that was cancelled before it started.
pub(crate) fn cancelled_before_start() -> Ending {
    let error = "the run was cancelled before it started";
    Ending::not_started(Verdict::Cancelled, error, SystemTime::now())
}

/// The signal that an exit code of 128 and more stands for, by the shells' convention, if it is one
/// that ends processes.
fn signal_name(code: i32) -> Option<&'static str> {
    Some(match code - 128 {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}
