//! STUB for the command's development; dropped at merge.
#![allow(missing_docs, missing_debug_implementations)]
use crate::bundle::Bundle;
use crate::error::{At, Problem};
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    InvalidId,
    Exists,
    NotFound,
    NotRunning,
    Paused,
    Config,
    Unsupported,
    Hook,
    Exec,
    Os,
}
#[derive(Debug)]
pub struct Error {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) errno: Option<i32>,
    pub(crate) problems: Vec<Problem>,
}
impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Error { kind, text: text.into(), errno: None, problems: Vec::new() }
    }
    pub fn kind(&self) -> Kind {
        self.kind
    }
    pub fn at(&self) -> Option<At> {
        self.problems.first().map(|p| p.at)
    }
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl std::error::Error for Error {}
fn os(e: impl Into<std::io::Error>) -> Error {
    let e = e.into();
    Error { errno: e.raw_os_error(), ..Error::new(Kind::Os, e.to_string()) }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(Box<str>);
impl FromStr for Id {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        if s.is_empty() {
            return Err(Error::new(Kind::InvalidId, "container id cannot be empty"));
        }
        if s == "." || s == ".." || !s.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+.-".contains(&b)) {
            return Err(Error::new(Kind::InvalidId, "invalid container ID format"));
        }
        Ok(Id(s.into()))
    }
}
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    Cgroupfs,
    Systemd,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub oci_version: String,
    pub id: String,
    pub pid: u32,
    pub status: Status,
    pub bundle: String,
    pub rootfs: String,
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub owner: String,
}
#[derive(Default)]
pub struct CreateOptions<'a> {
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    pub preserve_fds: u32,
    pub pid_file: Option<&'a Path>,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    pub signal_mask: Option<libc::sigset_t>,
}
pub struct Plan(String);
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
pub struct Runtime {
    root: PathBuf,
}
impl Runtime {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Runtime { root: root.into() }
    }
    pub fn with_cgroup_driver(self, _: CgroupDriver) -> Self {
        self
    }
    pub fn with_rootless_cgroups(self, _: bool) -> Self {
        self
    }
    pub fn plan(&self, id: &Id, b: &Bundle, _: &CreateOptions<'_>) -> Result<Plan, Error> {
        Ok(Plan(format!("spawn   {id} {}\n", b.dir().display())))
    }
    fn dir(&self, id: &Id) -> PathBuf {
        self.root.join(id.to_string())
    }
    pub fn create(&self, id: &Id, b: &Bundle, o: CreateOptions<'_>) -> Result<Container, Error> {
        self.run(id, b, o)
    }
    pub fn run(&self, id: &Id, b: &Bundle, o: CreateOptions<'_>) -> Result<Container, Error> {
        let dir = self.dir(id);
        std::fs::create_dir_all(&self.root).map_err(os)?;
        std::fs::create_dir(&dir).map_err(|_| Error::new(Kind::Exists, "container with given ID already exists"))?;
        let args = b.spec().process().as_ref().and_then(|p| p.args().clone()).unwrap_or_default();
        let io = |fd: Option<BorrowedFd<'_>>| -> Result<Stdio, Error> {
            Ok(match fd {
                Some(fd) => Stdio::from(fd.try_clone_to_owned().map_err(os)?),
                None => Stdio::inherit(),
            })
        };
        if args.is_empty() {
            return Err(Error::new(Kind::Config, "args must not be empty"));
        }
        // The signal mask has to be restored in the child: the stub has Python do it.
        let restore = "import os,signal,sys; signal.pthread_sigmask(signal.SIG_SETMASK, []); os.execvp(sys.argv[1], sys.argv[1:])";
        let mut cmd = Command::new("python3");
        cmd.args(["-c", restore]).args(args).stdin(io(o.stdio[0])?).stdout(io(o.stdio[1])?).stderr(io(o.stdio[2])?);
        let child = cmd.spawn().map_err(os)?;
        let pid = child.id();
        if let Some(p) = o.pid_file {
            std::fs::write(p, pid.to_string()).map_err(os)?;
        }
        std::fs::write(dir.join("stub"), format!("{pid}\n{}", b.dir().display())).map_err(os)?;
        self.container(id)
    }
    pub fn container(&self, id: &Id) -> Result<Container, Error> {
        let text = std::fs::read_to_string(self.dir(id).join("stub"))
            .map_err(|_| Error::new(Kind::NotFound, "container does not exist"))?;
        let gone = || Error::new(Kind::NotFound, "container does not exist");
        let (pid, bundle) = text.split_once('\n').ok_or_else(gone)?;
        let pid: u32 = pid.parse().map_err(|_| gone())?;
        let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        let pidfd = raw.and_then(|p| rustix::process::pidfd_open(p, rustix::process::PidfdFlags::empty()).ok());
        Ok(Container { id: id.clone(), dir: self.dir(id), pid, bundle: bundle.to_owned(), pidfd })
    }
    pub fn containers(&self) -> Result<Vec<Result<Container, Error>>, Error> {
        let mut all = Vec::new();
        for e in std::fs::read_dir(&self.root).map_err(os)?.flatten() {
            let name = e.file_name();
            if let Ok(id) = name.to_string_lossy().parse::<Id>() {
                all.push(self.container(&id).map_err(|e| Error::new(e.kind, format!("load container {id}: {e}"))));
            }
        }
        Ok(all)
    }
    pub fn remove_remains(&self, id: &Id) -> Result<(), Error> {
        let _ = std::fs::remove_dir_all(self.dir(id));
        Ok(())
    }
}
pub struct Container {
    id: Id,
    dir: PathBuf,
    pid: u32,
    bundle: String,
    pidfd: Option<OwnedFd>,
}
impl Container {
    pub fn id(&self) -> &Id {
        &self.id
    }
    pub fn pid(&self) -> Option<u32> {
        Some(self.pid)
    }
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|f| f.as_fd())
    }
    pub fn status(&self) -> Result<Status, Error> {
        Ok(if Path::new(&format!("/proc/{}", self.pid)).is_dir() { Status::Running } else { Status::Stopped })
    }
    pub fn state(&self) -> Result<State, Error> {
        Ok(State {
            oci_version: "1.3.0".into(),
            id: self.id.to_string(),
            pid: self.pid,
            status: self.status()?,
            bundle: self.bundle.clone(),
            rootfs: format!("{}/rootfs", self.bundle),
            created: "2026-11-22T00:26:34.346705752Z".into(),
            annotations: BTreeMap::new(),
            owner: String::new(),
        })
    }
    pub fn start(&self) -> Result<(), Error> {
        Err(Error::new(Kind::NotRunning, "cannot start an already running container"))
    }
    pub fn kill(&self, signal: i32) -> Result<(), Error> {
        if self.status()? == Status::Stopped {
            return Err(Error::new(Kind::NotRunning, "container not running"));
        }
        let done = Command::new("kill").arg(format!("-{signal}")).arg(self.pid.to_string()).status().map_err(os)?;
        if done.success() { Ok(()) } else { Err(Error::new(Kind::Os, "unable to signal init: invalid argument")) }
    }
    pub fn delete(self, force: bool) -> Result<(), Error> {
        let status = self.status()?;
        if status != Status::Stopped {
            if !force {
                let text = format!("cannot delete container {} that is not stopped: {status}", self.id);
                return Err(Error::new(Kind::NotRunning, text));
            }
            self.kill(9)?;
        }
        std::fs::remove_dir_all(&self.dir).map_err(os)
    }
    pub fn pids(&self) -> Result<Vec<u32>, Error> {
        Ok(if self.status()? == Status::Stopped { vec![] } else { vec![self.pid] })
    }
}
