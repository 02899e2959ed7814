//! A pseudo-terminal with a test in front of it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use super::command::Running;
use super::{Cmd, patience};

/// The terminal of somebody who types.
#[derive(Debug)]
pub struct Screen {
    pub master: File,
    pub slave: PathBuf,
    /// What has been shown and not yet been waited for.
    pub shown: String,
}

impl Screen {
    pub fn new(rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let screen = Screen { master: File::from(master), slave, shown: String::new() };
        screen.resize(rows, columns);
        screen
    }

    pub fn resize(&self, ws_row: u16, ws_col: u16) {
        tcsetwinsize(&self.master, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    pub fn slave(&self) -> File {
        OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NOCTTY).open(&self.slave).unwrap()
    }

    /// The command with this as its stdin and stdout.
    pub fn before(&self, command: Cmd) -> Cmd {
        command.stdin(self.slave()).stdout(self.slave())
    }

    /// Runs the command here, as its session's terminal.
    pub fn run(&self, command: Cmd) -> Running {
        self.before(command.wrapped(&["setsid", "--ctty", "--wait", "--"])).spawn()
    }

    pub fn modes(&self) -> Termios {
        tcgetattr(&self.master).unwrap()
    }

    pub fn is_raw(&self) -> bool {
        !self.modes().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown, and forgets all up to there, which it returns.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.shown.find(text) {
                let rest = self.shown.split_off(at + text.len());
                return std::mem::replace(&mut self.shown, rest);
            }
            assert!(start.elapsed() < patience(20), "waited for {text:?}, and there was {:?}", self.shown);
            self.take();
        }
    }

    pub fn take(&mut self) {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).unwrap() == 0 {
            return;
        }
        let mut chunk = [0; 4096];
        match self.master.read(&mut chunk) {
            Ok(n) if n > 0 => self.shown.push_str(&String::from_utf8_lossy(&chunk[..n])),
            _ => std::thread::sleep(Duration::from_millis(20)), // EIO: nobody has the other end
        }
    }
}
