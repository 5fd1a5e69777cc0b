//! What Linux says of a process (proc(5)).

use std::{fs, time::Duration};

use crate::Outcome;

/// Ticks of /proc per second: fixed by Linux's ABI (USER_HZ).
const TICKS: f64 = 100.0;

/// The processor time that a process has used so far, in user space and in the kernel, to 10 ms.
pub(crate) fn cpu_time(id: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name may contain anything; the fields follow its closing parenthesis, beginning with the third.
    let fields: Vec<&str> = match stat.rsplit_once(')') {
        Some((_, fields)) => fields.split_whitespace().collect(),
        None => return Err("/proc/<id>/stat has no name".into()),
    };
    let ticks = |at: usize| -> Outcome<f64> {
        Ok(fields.get(at).ok_or("/proc/<id>/stat is too short")?.parse()?)
    };
    let (user, kernel) = (ticks(11)?, ticks(12)?);
    Ok(Duration::from_secs_f64((user + kernel) / TICKS))
}

/// The memory of a process that is resident now, in MiB.
pub(crate) fn resident_mebibytes(id: u32) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: f64 =
        field.ok_or("no VmRSS in /proc/<id>/status")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let id = std::process::id();
        assert!(resident_mebibytes(id).unwrap() > 0.1);
        let before = cpu_time(id).unwrap();
        while cpu_time(id).unwrap() < before + Duration::from_millis(20) {}
    }
}
