//! What the figures were measured on.

use serde_json::{Value, json};

use crate::Outcome;

/// The machine, and how busy it is.
#[derive(Debug)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    load: f64,
}

impl Machine {
    pub(crate) fn read() -> Outcome<Self> {
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim());
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let load = std::fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            processor: processor.to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: kernel.trim().split('-').next().unwrap_or_default().to_owned(),
            load: load.split(' ').next().unwrap_or_default().parse()?,
        })
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let Self { processor, cores, kernel, load } = self;
        format!("{processor}, {cores} cores, Linux {kernel}, load {load:.2} at the start")
    }

    pub(crate) fn json(&self) -> Value {
        let Self { processor, cores, kernel, load } = self;
        json!({ "processor": processor, "cores": cores, "kernel": kernel, "load": load })
    }
}
