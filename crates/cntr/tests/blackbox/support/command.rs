//! Running the binary: output into files, a deadline, and killing by pid.
//!
//! Output goes to files and not to pipes because `create` hands its own stdout to the container: a pipe
//! would stay open until the container ends, and a reader would wait for it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// A command to be run: arguments, environment, directory, stdin, deadline.
#[derive(Debug)]
pub struct Cmd {
    argv: Vec<OsString>,
    env: Vec<(String, String)>,
    cwd: Option<PathBuf>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    timeout: Duration,
    out: PathBuf,
    without: Vec<&'static str>,
    refusal: i32,
}

impl Cmd {
    /// `out` is a directory for the files that capture stdout and stderr.
    pub fn new(argv: Vec<OsString>, out: &Path) -> Self {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        Cmd {
            argv,
            env: vec![("PATH".into(), path)],
            cwd: None,
            stdin: None,
            stdout: None,
            timeout: super::patience(60),
            out: out.to_owned(),
            without: Vec::new(),
            refusal: nix::libc::ENOSYS,
        }
    }

    /// Under a seccomp filter that answers ENOSYS for these system calls.
    pub fn without(mut self, calls: &[&'static str]) -> Self {
        self.without.extend(calls);
        self
    }

    /// As [`Cmd::without`], but the answer is EPERM.
    pub fn denied(self, calls: &[&'static str]) -> Self {
        Cmd { refusal: nix::libc::EPERM, ..self.without(calls) }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.argv.extend(args.iter().map(OsString::from));
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    pub fn cwd(mut self, dir: &Path) -> Self {
        self.cwd = Some(dir.to_owned());
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// stdout into something else than the capturing file; the output's `stdout` is then empty.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Puts `prefix` before the command: a wrapper that executes its arguments.
    pub fn wrapped(mut self, prefix: &[&str]) -> Self {
        let mut argv: Vec<OsString> = prefix.iter().map(OsString::from).collect();
        argv.append(&mut self.argv);
        self.argv = argv;
        self
    }

    /// Wraps the command into `sh -c`: `script` ends with `exec "$@"` and says what happens before, such as
    /// opening or closing file descriptors.
    pub fn shell(self, script: &str) -> Self {
        self.wrapped(&["/bin/sh", "-c", script, "sh"])
    }

    pub fn spawn(self) -> Running {
        let n = RUNS.fetch_add(1, Ordering::Relaxed);
        let (stdout, stderr) = (self.out.join(format!("{n}.out")), self.out.join(format!("{n}.err")));
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear().envs(self.env.iter().map(|(k, v)| (k, v)));
        command.stdin(self.stdin.unwrap_or_else(Stdio::null));
        command.stdout(self.stdout.unwrap_or_else(|| Stdio::from(append(&stdout))));
        command.stderr(append(&stderr));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        if !self.without.is_empty() {
            super::enosys::take_away(&mut command, &self.without, self.refusal);
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", self.argv));
        Running { child, argv: self.argv, stdout, stderr, start: Instant::now(), timeout: self.timeout }
    }

    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Runs for cleaning up: never panics (a panic while a failed test unwinds would abort all the others), and
    /// waits ten seconds at most ([`super::patience`]).
    pub fn run_quietly(self) {
        let mut running = self.spawn();
        while running.start.elapsed() < super::patience(10) {
            if !matches!(running.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        running.signal(Signal::SIGKILL);
        let _ = running.child.wait();
    }

    /// Runs, and panics unless the exit status is 0.
    pub fn ok(self) -> Output {
        let out = self.run();
        assert_eq!(out.code, Some(0), "{out:#?}");
        out
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A command that has been started.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
    argv: Vec<OsString>,
    stdout: PathBuf,
    /// The file it goes to.
    pub stderr: PathBuf,
    start: Instant,
    timeout: Duration,
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    pub fn stdout(&self) -> String {
        super::read(&self.stdout)
    }

    pub fn wait(mut self) -> Output {
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.start.elapsed() > self.timeout {
                self.signal(Signal::SIGKILL);
                let _ = self.child.wait();
                panic!(
                    "{:?}: still running after {:?}\nstdout: {}\nstderr: {}",
                    self.argv,
                    self.timeout,
                    self.stdout(),
                    super::read(&self.stderr)
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(4));
        };
        Output {
            argv: self.argv.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
            code: status.code(),
            signal: status.signal(),
            stdout: super::read(&self.stdout),
            stderr: super::read(&self.stderr),
            stdout_file: self.stdout,
            took: self.start.elapsed(),
        }
    }
}

/// How a command ended.
#[derive(Debug)]
#[allow(dead_code, reason = "argv is there for the Debug text of a failure")]
pub struct Output {
    pub argv: Vec<String>,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// What `stdout` was read from: a container made by `create` goes on writing there.
    pub stdout_file: PathBuf,
    pub took: Duration,
}
