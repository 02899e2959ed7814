//! A proxy before the bus of the manager that the tests' containers are made by: it counts connections, and it can stop, as a
//! bus does that was sent SIGSTOP, without stopping the one that everybody else is served by.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::Sandbox;

pub struct Bus {
    path: PathBuf,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Bus {
    /// Before this socket.
    pub fn before(sandbox: &Sandbox, real: PathBuf) -> Bus {
        let path = sandbox.path("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let (connections, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (connections.clone(), stopped.clone());
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    silent.push(client); // taken, as the kernel does it for a process that has stopped
                    continue;
                }
                let Ok(server) = UnixStream::connect(&real) else { continue };
                forward(client.try_clone().unwrap(), server.try_clone().unwrap());
                forward(server, client);
            }
        });
        Bus { path, connections, stopped }
    }

    pub fn address(&self) -> String {
        format!("unix:path={}", self.path.display())
    }

    /// Connections since the last time.
    pub fn connections(&self) -> usize {
        self.connections.swap(0, Ordering::SeqCst)
    }

    /// From now on nothing is answered.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

fn forward(mut from: UnixStream, mut to: UnixStream) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
