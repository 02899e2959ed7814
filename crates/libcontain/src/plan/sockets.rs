//! What systemd's two protocols ask of a container: sockets that the program inherits (sd_listen_fds(3)), and one at which
//! it says that it is ready (sd_notify(3)). Who listens at the other side is not the plan's business.

use std::os::unix::ffi::OsStrExt;

use super::mount_options::attr;
use super::{Bind, Op, Planner};
use crate::error::At;

/// The socket for sd_notify(3), and the directory in which a container finds it.
pub(crate) const NOTIFY_SOCKET: &str = "notify.sock";
const NOTIFY_DIR: &str = "/run/notify";

impl Planner<'_> {
    /// The directory with the socket, and not the socket: that is made later, by `start`.
    pub(super) fn notify_mount(&mut self, inherit: u64) {
        let Some(dir) = self.request.notify_dir else { return };
        let at = At::field("NOTIFY_SOCKET");
        let source = self.text(at, dir.as_os_str().as_bytes());
        let target = self.text(at, NOTIFY_DIR);
        let set = attr::NOSUID | attr::NOEXEC | attr::NODEV | attr::RDONLY;
        let tree = self.tree(at, source.clone(), false);
        self.step(at, Op::Bind(Bind { inherit, set, ..Bind::plain(source, target, tree) }));
    }

    pub(super) fn notify_needs_a_mount_namespace(&mut self) {
        if self.request.notify_dir.is_some() {
            self.problem(At::field("NOTIFY_SOCKET"), "", "a notify socket needs a mount namespace");
        }
    }

    /// What systemd's two protocols tell a program, sd_listen_fds(3) and sd_notify(3). The program is process 1.
    pub(super) fn socket_variables(&self) -> Vec<String> {
        let mut entries = Vec::new();
        if self.request.listen_fds > 0 {
            entries.push(format!("LISTEN_FDS={}", self.request.listen_fds));
            entries.push("LISTEN_PID=1".into());
            entries.extend(self.request.listen_fd_names.map(|names| format!("LISTEN_FDNAMES={names}")));
        }
        if self.request.notify_dir.is_some() {
            entries.push(format!("NOTIFY_SOCKET={NOTIFY_DIR}/{NOTIFY_SOCKET}"));
        }
        entries
    }
}
