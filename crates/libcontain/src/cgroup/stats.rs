//! What a cgroup has used, from its files.
//!
//! Owns which file a member of [`Stats`] comes from, on v1 and on v2, and what it means that a file is missing. A controller
//! that the machine has not got, or that the cgroup does not count for, leaves zeros; so does a cgroup that went away
//! meanwhile. A file that is there and cannot be read, or says something else than expected, is an error that names it.
//! A resource is looked up in the v1 hierarchy of its controller, and in v2 if there is none: a hybrid machine has
//! some here and some there.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use rustix::io::Errno;

use self::parse::Parsed;
use super::{Cgroup, CgroupError, Member, dir};
use crate::stats::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, Hugetlb, IntelRdt, Memory, MemoryEntry, Pids, Pressure, Stats, Throttling,
};

mod parse;

type Result<T> = std::result::Result<T, CgroupError>;

impl Cgroup {
    /// What has been used until now.
    ///
    /// # Errors
    /// A file that is there cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        let of = |controller: &str| self.v1(controller).or(self.v2());
        Ok(Stats {
            cpu: self.cpu()?,
            cpuset: self.v1("cpuset").map(Member::cpuset).transpose()?.unwrap_or_default(),
            memory: of("memory").map(Member::memory).transpose()?.unwrap_or_default(),
            pids: of("pids").map(Member::tasks).transpose()?.unwrap_or_default(),
            blkio: of("blkio").map(Member::blkio).transpose()?.unwrap_or_default(),
            hugetlb: of("hugetlb").map(Member::hugetlb).transpose()?.unwrap_or_default(),
            intel_rdt: IntelRdt::default(),
            network_interfaces: None,
        })
    }

    /// v1 has two controllers for it, which may be in two hierarchies.
    fn cpu(&self) -> Result<Cpu> {
        let (time, quota) = (self.v1("cpuacct"), self.v1("cpu"));
        if let (None, None, Some(v2)) = (time, quota, self.v2()) {
            let (usage, throttling) = v2.parse("cpu.stat", parse::cpu_stat)?;
            return Ok(Cpu { usage, throttling, psi: v2.pressure("cpu.pressure")? });
        }
        let throttling = quota.map(|member| member.parse("cpu.stat", parse::throttling)).transpose()?;
        Ok(Cpu {
            usage: time.map(Member::cpuacct).transpose()?.unwrap_or_default(),
            throttling: throttling.unwrap_or_else(Throttling::default),
            psi: None,
        })
    }
}

impl Member {
    /// `None`: there is no such file, or it is switched off.
    fn parse_if_there<T>(&self, file: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Result<Option<T>> {
        let text = match self.read(file) {
            Ok(text) => text,
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(CgroupError::call(self.file(file), "read", errno)),
        };
        let malformed = |parse::Malformed(line)| {
            let path = self.file(file);
            CgroupError::text(path.as_str(), format!("unable to parse {line:?} of {path}"))
        };
        parse(&text).map(Some).map_err(malformed)
    }

    fn parse<T: Default>(&self, file: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Result<T> {
        Ok(self.parse_if_there(file, parse)?.unwrap_or_default())
    }

    fn number(&self, file: &str) -> Result<u64> {
        self.parse(file, parse::number)
    }

    fn pressure(&self, file: &str) -> Result<Option<Pressure>> {
        self.parse_if_there(file, parse::pressure)
    }

    fn cpuacct(&self) -> Result<CpuUsage> {
        let [kernel, user] = self.parse("cpuacct.stat", parse::cpuacct_stat)?;
        let (percpu_kernel, percpu_user) = self.parse("cpuacct.usage_all", parse::usage_all)?;
        Ok(CpuUsage {
            total: self.number("cpuacct.usage")?,
            percpu: self.parse("cpuacct.usage_percpu", parse::numbers)?,
            percpu_kernel,
            percpu_user,
            kernel,
            user,
        })
    }

    fn cpuset(&self) -> Result<Cpuset> {
        Ok(Cpuset {
            cpus: self.parse("cpuset.cpus", parse::ranges)?,
            cpu_exclusive: self.number("cpuset.cpu_exclusive")?,
            mems: self.parse("cpuset.mems", parse::ranges)?,
            mem_hardwall: self.number("cpuset.mem_hardwall")?,
            mem_exclusive: self.number("cpuset.mem_exclusive")?,
            memory_migrate: self.number("cpuset.memory_migrate")?,
            memory_spread_page: self.number("cpuset.memory_spread_page")?,
            memory_spread_slab: self.number("cpuset.memory_spread_slab")?,
            memory_pressure: self.number("cpuset.memory_pressure")?,
            sched_load_balance: self.number("cpuset.sched_load_balance")?,
            sched_relax_domain_level: self.parse("cpuset.sched_relax_domain_level", parse::signed)?,
        })
    }

    fn memory(&self) -> Result<Memory> {
        let raw = self.parse("memory.stat", parse::keyed)?;
        let of_files = |key| raw.get(key).copied().unwrap_or_default();
        if self.v2 {
            let usage = self.memory_v2()?;
            let psi = self.pressure("memory.pressure")?;
            let (cache, swap) = (of_files("file"), self.swap_v2(usage)?);
            return Ok(Memory { cache, usage, swap, raw, psi, ..Memory::default() });
        }
        Ok(Memory {
            cache: of_files("cache"),
            usage: self.memory_v1("memory")?,
            swap: self.memory_v1("memory.memsw")?,
            kernel: self.memory_v1("memory.kmem")?,
            kernel_tcp: self.memory_v1("memory.kmem.tcp")?,
            raw,
            psi: None,
        })
    }

    fn memory_v1(&self, kind: &str) -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: self.number(&format!("{kind}.limit_in_bytes"))?,
            usage: self.number(&format!("{kind}.usage_in_bytes"))?,
            max: self.number(&format!("{kind}.max_usage_in_bytes"))?,
            failcnt: self.number(&format!("{kind}.failcnt"))?,
        })
    }

    fn memory_v2(&self) -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: self.parse("memory.max", parse::limit)?,
            usage: self.number("memory.current")?,
            max: self.number("memory.peak")?,
            failcnt: 0,
        })
    }

    /// v2 counts swap by itself, v1 together with memory, and so do those who read this. The most there ever was of two
    /// things is not the sum of the most there was of each.
    fn swap_v2(&self, memory: MemoryEntry) -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: memory.limit.saturating_add(self.parse("memory.swap.max", parse::limit)?),
            usage: memory.usage.saturating_add(self.number("memory.swap.current")?),
            max: 0,
            failcnt: 0,
        })
    }

    fn tasks(&self) -> Result<Pids> {
        Ok(Pids { current: self.number("pids.current")?, limit: self.parse("pids.max", parse::pids_limit)? })
    }

    fn blkio(&self) -> Result<Blkio> {
        if self.v2 {
            let psi = self.pressure("io.pressure")?;
            return Ok(Blkio { psi, ..self.parse("io.stat", parse::io_stat)? });
        }
        Ok(Blkio {
            io_service_bytes_recursive: self.first_of("io_service_bytes")?,
            io_serviced_recursive: self.first_of("io_serviced")?,
            io_queued_recursive: self.first_of("io_queued")?,
            io_service_time_recursive: self.first_of("io_service_time")?,
            io_wait_time_recursive: self.first_of("io_wait_time")?,
            io_merged_recursive: self.first_of("io_merged")?,
            io_time_recursive: self.first_of("time")?,
            sectors_recursive: self.first_of("sectors")?,
            psi: None,
        })
    }

    /// Who counts depends on the device's scheduler, on the kernel's age and on its config: BFQ, CFQ (before Linux 5.0), or
    /// the throttling that is below all schedulers, which before 4.20 did not add up what is below a cgroup. The first that
    /// has something to say is taken.
    fn first_of(&self, name: &str) -> Result<Vec<BlkioEntry>> {
        let files = [
            format!("blkio.bfq.{name}_recursive"),
            format!("blkio.{name}_recursive"),
            format!("blkio.throttle.{name}_recursive"),
            format!("blkio.throttle.{name}"),
        ];
        for file in files {
            let entries = self.parse(&file, parse::blkio)?;
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    }

    /// The page sizes are those that there are files for. What is reserved is counted before it is used: a limit on it
    /// refuses with an error where the other one kills.
    fn hugetlb(&self) -> Result<BTreeMap<String, Hugetlb>> {
        let suffix = if self.v2 { "current" } else { "usage_in_bytes" };
        let files = match dir::open(&self.path).and_then(|dir| dir::files(dir.as_fd())) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(BTreeMap::new()),
            files => files.map_err(|errno| CgroupError::call(self.path.as_str(), "open", errno))?,
        };
        let names = files.iter().filter_map(|file| parse::page_size(file.to_str().ok()?, suffix));
        let mut sizes: BTreeMap<&str, bool> = BTreeMap::new();
        for (size, reserved) in names {
            *sizes.entry(size).or_default() |= reserved;
        }
        let sizes = sizes.into_iter().map(|(size, reserved)| Ok((size.to_owned(), self.huge_pages(size, reserved)?)));
        sizes.collect()
    }

    fn huge_pages(&self, size: &str, reserved: bool) -> Result<Hugetlb> {
        let kind = if reserved { format!("hugetlb.{size}.rsvd") } else { format!("hugetlb.{size}") };
        if self.v2 {
            return Ok(Hugetlb {
                usage: self.number(&format!("{kind}.current"))?,
                max: 0,
                failcnt: self.parse(&format!("hugetlb.{size}.events"), |text| parse::value(text, "max"))?,
            });
        }
        Ok(Hugetlb {
            usage: self.number(&format!("{kind}.usage_in_bytes"))?,
            max: self.number(&format!("{kind}.max_usage_in_bytes"))?,
            failcnt: self.number(&format!("{kind}.failcnt"))?,
        })
    }
}

#[cfg(test)]
mod tests;
