//! A hierarchy of cgroups that is mounted on this computer: some of v1, or the one of v2, or both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::{At as _, LocalError};

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// cgroup v1 with these controllers; none when it only names processes.
    V1(PathBuf, BTreeSet<String>),
    /// The one of v2, whose controllers must be handed down level by level.
    V2(PathBuf),
}

impl Hierarchy {
    pub(super) fn mount(&self) -> &Path {
        match self {
            Self::V1(mount, _) | Self::V2(mount) => mount,
        }
    }
}

/// Every hierarchy mounted below /sys/fs/cgroup. None at all is an error, because then nothing could be proven.
pub(super) fn hierarchies() -> Result<Vec<Hierarchy>, LocalError> {
    let path = Path::new("/proc/self/mounts");
    let found = parse_mounts(&std::fs::read_to_string(path).at("read", path)?);
    if found.is_empty() {
        return Err(LocalError::Input("no cgroup hierarchy is mounted below /sys/fs/cgroup".to_owned()));
    }
    Ok(found)
}

fn parse_mounts(mounts: &str) -> Vec<Hierarchy> {
    const CONTROLLERS: [&str; 12] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "net_cls",
        "net_prio",
        "perf_event",
        "hugetlb",
    ];
    let mut found = BTreeMap::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, mount, kind, options, ..] = fields[..] else {
            continue;
        };
        let mount = PathBuf::from(mount);
        if !mount.starts_with("/sys/fs/cgroup") {
            continue;
        }
        let controllers = options.split(',').filter(|word| CONTROLLERS.contains(word)).map(str::to_owned).collect();
        let hierarchy = match kind {
            "cgroup" => Hierarchy::V1(mount.clone(), controllers),
            "cgroup2" => Hierarchy::V2(mount.clone()),
            _ => continue,
        };
        found.insert(mount, hierarchy);
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read_from_the_mounts() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
            cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
            cgroup /elsewhere/cpu cgroup rw,cpu 0 0\n";
        let controllers = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect();
        assert_eq!(
            parse_mounts(hybrid),
            [
                Hierarchy::V1("/sys/fs/cgroup/cpu,cpuacct".into(), controllers(&["cpu", "cpuacct"])),
                Hierarchy::V1("/sys/fs/cgroup/systemd".into(), controllers(&[])),
                Hierarchy::V2("/sys/fs/cgroup/unified".into()),
            ]
        );
        assert_eq!(parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), [Hierarchy::V2("/sys/fs/cgroup".into())]);
    }
}
