//! `linux.netDevices`: which devices the parent moves into the container's network namespace, and when.

use super::{Gate, NetDevice, Op, Planner};
use crate::error::At;

impl Planner<'_> {
    /// In the order of their names: a map has none.
    pub(super) fn net_devices(&mut self) {
        let Some(devices) = self.spec.linux().as_ref().and_then(|l| l.net_devices().as_ref()) else { return };
        let own = |text: &&String| !text.is_empty();
        let device = |(name, device): (&String, &oci_spec::runtime::LinuxNetDevice)| NetDevice {
            name: name.clone(),
            target: device.name().as_ref().filter(own).unwrap_or(name).clone(),
        };
        self.net_devices = devices.iter().map(device).collect();
        self.net_devices.sort();
        if !self.net_devices.is_empty() {
            self.step(At::field("linux.netDevices"), Op::Gate(Gate::Network));
        }
    }
}
