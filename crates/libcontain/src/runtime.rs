//! The door to the library: where state lives, and how containers are made and found.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::bundle::Bundle;
use crate::container::Container;
use crate::create::{self, Driver};
use crate::error::{Error, Kind, Level, Problem};
use crate::host::Host;
use crate::plan::{self, Plan, Request, Terminal};
use crate::seal;
use crate::spec::Spec;
use crate::state::{NOTIFY_DIR, StateDir, not_found};
use crate::systemd::{self, Place};

/// A container id: one or more of `[A-Za-z0-9_+.-]`, and not `.` or `..`, so that it can be a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Box<str>);

impl Id {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::new(Kind::InvalidId, "container id cannot be empty"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+.-".contains(&b);
        if text == "." || text == ".." || !text.bytes().all(allowed) {
            return Err(Error::new(Kind::InvalidId, "invalid container ID format"));
        }
        Ok(Id(text.into()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An id that is taken, and its container if it can be read.
pub type Found = (Id, Result<Container, Error>);

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupDriver {
    /// The library itself, in `/sys/fs/cgroup`.
    #[default]
    Cgroupfs,
    /// systemd, as transient units.
    Systemd,
}

/// What a caller may ask for besides the config.
#[derive(Debug, Default)]
pub struct CreateOptions<'a> {
    /// What becomes the container's stdin, stdout and stderr; `None` hands on the caller's.
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    /// How many of the caller's descriptors from 3 on are sockets that sd_listen_fds(3) hands to the program: it inherits
    /// them at the same numbers and finds `LISTEN_FDS` and `LISTEN_PID=1` in its environment.
    pub listen_fds: u32,
    /// `LISTEN_FDNAMES` of the program, if there are such sockets: their names, separated by colons.
    pub listen_fd_names: Option<String>,
    /// How many of the caller's descriptors after those the program inherits, at the same numbers.
    pub preserve_fds: u32,
    /// Give the program a socket for sd_notify(3): its `NOTIFY_SOCKET`. Who listens there is told at
    /// [`Container::notify_socket`].
    pub notify: bool,
    /// A connected socket (`SOCK_STREAM`), over which the terminal's master end is sent, with a name that means nothing.
    /// Demanded by `process.terminal`, and of no use without.
    pub console: Option<BorrowedFd<'a>>,
    /// What that terminal is like.
    pub terminal: Terminal,
    /// Where to write init's pid, in decimal and without a newline, once the container is set up.
    pub pid_file: Option<&'a Path>,
    /// Use `chroot(2)` in place of `pivot_root(2)`, which a ramdisk as root file system does not allow.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// The signal mask of the program and of hooks (bit n-1 stands for signal n); `None`: the calling thread's.
    pub signal_mask: Option<u64>,
    /// A connected `SOCK_STREAM` socket that is sent init's pidfd once init is set up: one message, `standard`, with one
    /// descriptor. It is an error if it cannot be sent within ten seconds.
    pub pidfd_socket: Option<BorrowedFd<'a>>,
    /// If making it fails, leave the state directory, as of a stopped container.
    pub keep: bool,
}

/// What a plan is made for, besides the options.
#[derive(Clone, Copy)]
struct Asked {
    wait_for_start: bool,
    console: Option<Terminal>,
}

/// A state root and the way of making containers below it. Cheap to make; holds nothing open.
#[derive(Debug, Clone)]
pub struct Runtime {
    root: PathBuf,
    driver: CgroupDriver,
    rootless_cgroups: Option<bool>,
    host: Option<Host>,
    search_path: OsString,
    bus: String,
    bus_limit: Duration,
    unprotected: bool,
}

/// Where programs are looked for unless the caller says otherwise.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

impl Runtime {
    /// State is kept below `root`, an absolute path such as `/run/cntr`. It is made by the first `create`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Runtime {
            root: root.into(),
            driver: CgroupDriver::default(),
            rootless_cgroups: None,
            host: None,
            search_path: SEARCH_PATH.into(),
            bus: String::new(),
            bus_limit: systemd::PATIENCE,
            unprotected: false,
        }
    }

    /// Who makes cgroups.
    #[must_use]
    pub fn with_cgroup_driver(self, driver: CgroupDriver) -> Self {
        Runtime { driver, ..self }
    }

    /// Whether missing permission for cgroups is tolerated. Without this it is for everybody but root of the initial user
    /// namespace.
    #[must_use]
    pub fn with_rootless_cgroups(self, tolerated: bool) -> Self {
        Runtime { rootless_cgroups: Some(tolerated), ..self }
    }

    /// Where `newuidmap(1)` and `newgidmap(1)` are looked for when the caller may not write an id map himself: directories
    /// separated by colons, as in `PATH`, which the library does not read. Without this, where distributions put them.
    #[must_use]
    pub fn with_search_path(self, directories: impl Into<OsString>) -> Self {
        Runtime { search_path: directories.into(), ..self }
    }

    /// Where the bus of the manager is that makes cgroups, with [`CgroupDriver::Systemd`]: D-Bus addresses separated by
    /// `;`, such as `unix:path=/run/user/1000/bus`. Root's manager is the machine's, and is found without; everybody else's,
    /// also that of root of a user namespace, is the user's own, and has to be named. The library reads no
    /// `DBUS_SESSION_BUS_ADDRESS`. A container remembers the address for its removal.
    #[must_use]
    pub fn with_bus_address(self, addresses: impl Into<String>) -> Self {
        Runtime { bus: addresses.into(), ..self }
    }

    /// How long systemd and its bus may take for all that is asked of them to make a container, or to remove one. Without
    /// this, 30 seconds.
    #[must_use]
    pub fn with_bus_deadline(self, limit: Duration) -> Self {
        Runtime { bus_limit: limit, ..self }
    }

    /// Makes and enters containers also if they could overwrite the executable of this process, which without this is an
    /// error ([`seal`](crate::seal)). Whoever runs it next, most likely root, runs then what a container has left there. For
    /// programs that cannot be executed once more, and whose containers' root is trusted.
    #[must_use]
    pub fn with_unprotected_executable(self) -> Self {
        Runtime { unprotected: true, ..self }
    }

    /// Plans for this host in place of the one that runs the process.
    #[must_use]
    pub fn with_host(self, host: Host) -> Self {
        Runtime { host: Some(host), ..self }
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What `spec` does not need is not asked.
    fn host(&self, spec: &Spec) -> Result<(Host, Driver), Error> {
        let mut host = match &self.host {
            Some(host) => host.clone(),
            None => {
                let mut host = Host::probe().map_err(|e| Error::os("asking the machine", e))?;
                host.find_map_programs(&self.search_path);
                host
            }
        };
        host.ask_for(spec);
        if let Some(tolerated) = self.rootless_cgroups {
            host.rootless_cgroups = tolerated;
        }
        let driver = self.ask_systemd(&mut host)?;
        Ok((host, driver))
    }

    /// Who systemd is, if it makes cgroups. The conversation goes on when the container is made.
    fn ask_systemd(&self, host: &mut Host) -> Result<Driver, Error> {
        let user = host.euid != 0 || host.user_namespace;
        let mut driver = Driver { place: Place { user, bus: self.bus.clone(), limit: self.bus_limit }, systemd: None };
        // A host that was given says itself who makes its cgroups.
        if self.driver == CgroupDriver::Systemd && host.manager.is_none() {
            let mut systemd = driver.place.connect().map_err(|failure| systemd::unreachable(&failure))?;
            systemd.must_share_pids()?;
            host.manager = Some(systemd.manager().map_err(|failure| systemd::unreachable(&failure))?);
            driver.systemd = Some(systemd);
        }
        Ok(driver)
    }

    /// What `create` would do. Changes nothing and needs no privilege.
    ///
    /// # Errors
    /// Every problem that checking and planning find.
    pub fn plan(&self, id: &Id, bundle: &Bundle, options: &CreateOptions<'_>) -> Result<Plan, Error> {
        // Who will take a terminal's master end does not change what is done.
        self.plan_for(id, bundle, options, Asked { wait_for_start: true, console: Some(options.terminal) })
            .map(|(plan, _)| plan)
    }

    fn plan_for(
        &self,
        id: &Id,
        bundle: &Bundle,
        options: &CreateOptions<'_>,
        asked: Asked,
    ) -> Result<(Plan, Driver), Error> {
        let (mut host, driver) = self.host(bundle.spec())?;
        if options.no_pivot {
            host.ask_for_kernel_mounts();
        }
        let notify_dir = options.notify.then(|| self.root.join(id.as_str()).join(NOTIFY_DIR));
        let request = Request {
            id: id.as_str(),
            bundle: bundle.dir(),
            listen_fds: options.listen_fds,
            listen_fd_names: options.listen_fd_names.as_deref(),
            notify_dir: notify_dir.as_deref(),
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserve_fds: options.preserve_fds,
            console: asked.console,
            wait_for_start: asked.wait_for_start,
        };
        let mut problems = crate::check::check(bundle.spec(), &host);
        problems.extend(bundle.warnings().iter().cloned());
        accepted(plan::plan(&request, bundle.spec(), &host), problems).map(|plan| (plan, driver))
    }

    /// Makes a container whose init waits for [`Container::start`].
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if nothing keeps the container from overwriting the executable of this process: see
    /// [`seal`](crate::seal) and [`Runtime::with_unprotected_executable`].
    /// Whatever fails, everything that was made is removed again.
    pub fn create(&self, id: &Id, bundle: &Bundle, options: &CreateOptions<'_>) -> Result<Container, Error> {
        let asked = Asked { wait_for_start: true, console: options.console.map(|_| options.terminal) };
        self.make(id, bundle, options, asked)
    }

    /// Makes a container and lets its program run at once.
    ///
    /// # Errors
    /// As [`Runtime::create`] and [`Container::start`].
    pub fn run(&self, id: &Id, bundle: &Bundle, options: &CreateOptions<'_>) -> Result<Container, Error> {
        let asked = Asked { wait_for_start: false, console: options.console.map(|_| options.terminal) };
        self.make(id, bundle, options, asked)
    }

    fn make(&self, id: &Id, bundle: &Bundle, options: &CreateOptions<'_>, asked: Asked) -> Result<Container, Error> {
        let (plan, driver) = self.plan_for(id, bundle, options, asked)?;
        if !self.unprotected {
            seal::demand(|| plan.spawn.user_maps())?;
        }
        let container = create::create(&self.root, id, bundle, &plan, options, driver)?;
        Ok(container.with_unprotected_executable(self.unprotected))
    }

    /// The container with this id.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn container(&self, id: &Id) -> Result<Container, Error> {
        let dir = StateDir::open(&self.root, id.as_str())?.ok_or_else(not_found)?;
        let record = dir.read_state()?.ok_or_else(not_found)?;
        let container = Container::new(id.clone(), dir, record).with_bus_limit(self.bus_limit);
        Ok(container.with_unprotected_executable(self.unprotected))
    }

    /// Every container below the root, sorted by id. One that cannot be read is an error in its place.
    ///
    /// # Errors
    /// The root itself cannot be read.
    pub fn containers(&self) -> Result<Vec<Found>, Error> {
        let root = self.root.display();
        let entries = std::fs::read_dir(&self.root).map_err(|e| Error::os(format_args!("open {root}"), e))?;
        let dirs = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        let mut ids: Vec<Id> = dirs.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        ids.sort();
        Ok(ids.into_iter().map(|id| (id.clone(), self.container(&id))).collect())
    }

    /// Removes what a `create` that died left under this id: process, cgroup, unit, directory. Returns what the caller should
    /// be told.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is nothing of that name.
    pub fn remove_remains(&self, id: &Id) -> Result<Vec<Problem>, Error> {
        let dir = StateDir::open(&self.root, id.as_str())?.ok_or_else(not_found)?;
        match dir.read_intent() {
            Some((record, owned)) => {
                Container::remains(id.clone(), dir, record, owned).with_bus_limit(self.bus_limit).destroy()
            }
            None => dir.remove().map(|()| vec![]),
        }
    }
}

/// A plan with all that is to be told, or every problem that forbids it.
pub(crate) fn accepted(planned: Result<Plan, Vec<Problem>>, mut problems: Vec<Problem>) -> Result<Plan, Error> {
    match planned {
        Ok(mut plan) if problems.iter().all(|p| p.level != Level::Error) => {
            plan.warnings.extend(problems);
            Ok(plan)
        }
        Ok(_) => Err(Error::config(problems)),
        Err(found) => {
            problems.extend(found);
            Err(Error::config(problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "A-1_2+3.4", "...", "-x"] {
            assert!(good.parse::<Id>().is_ok(), "{good}");
        }
        for bad in [".", "..", "a/b", "ä", "a b", "a\0"] {
            assert_eq!(bad.parse::<Id>().unwrap_err().to_string(), "invalid container ID format");
        }
        assert_eq!("".parse::<Id>().unwrap_err().to_string(), "container id cannot be empty");
    }
}
