//! The command as a process, with a group of its own.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// The command at work.
pub(super) struct Process {
    child: Child,
    pid: u32,
    code: Option<u8>,
}

impl Process {
    /// Starts it. Standard input and output are ours.
    pub(super) fn start(command: &[OsString]) -> std::io::Result<Process> {
        let none = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "there is no command");
        let (program, arguments) = command.split_first().ok_or_else(none)?;
        let mut starting = Command::new(program);
        starting.args(arguments).process_group(0).kill_on_drop(true);
        end_with_us(&mut starting);
        let child = starting
            .spawn()
            .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", program.to_string_lossy())))?;
        let pid = child.id().ok_or_else(none)?;
        Ok(Process { child, pid, code: None })
    }

    /// Its number, which is that of its group.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end: the exit code, or 128 and the number of the signal. May be waited for again.
    pub(super) async fn wait(&mut self) -> u8 {
        if let Some(code) = self.code {
            return code;
        }
        let code = self.child.wait().await.map_or(1, code);
        self.code = Some(code);
        code
    }

    /// Asks it to end, and ends it when it takes too long.
    pub(super) async fn stop(&mut self, time: Duration) -> u8 {
        if self.code.is_none() {
            self.signal(Signal::TERM);
            if tokio::time::timeout(time, self.wait()).await.is_err() {
                tracing::warn!(?time, "the command did not end in time");
                self.signal(Signal::KILL);
            }
        }
        self.wait().await
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have gone in this moment.
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// When we are killed, which nobody can prevent, the system asks the command to end; else it would go on with nobody to watch it.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    let us = getpid();
    let before_it_runs = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // We may have ended before that.
        match getppid() == Some(us) {
            true => Ok(()),
            false => Err(std::io::ErrorKind::Interrupted.into()),
        }
    };
    // SAFETY: the two are system calls; nothing is allocated, locked or shared with other threads. Errors are numbers.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(before_it_runs);
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}

impl Drop for Process {
    fn drop(&mut self) {
        if self.code.is_none() {
            self.signal(Signal::KILL);
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    u8::try_from(status.code().or(signal).unwrap_or(1)).unwrap_or(1)
}
