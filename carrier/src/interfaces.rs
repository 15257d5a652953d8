//! Which network interfaces discovery uses.

/// Chooses interfaces by name. A pattern is a name, or the beginning of one followed by `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceFilter {
    /// If not empty, only interfaces that match one of these, whatever the other rules about them
    /// here.
    pub include: Vec<String>,
    /// Interfaces never used, besides those of containers and virtual machines.
    pub exclude: Vec<String>,
    /// Use the loopback interface and no other, for several devices on one machine (tests).
    pub loopback_only: bool,
}

impl InterfaceFilter {
    /// Returns whether the interface called `name` must not be used, even where there is no other.
    pub fn excludes(&self, name: &str) -> bool {
        match self.include.is_empty() {
            true => matches_any(&self.exclude, name),
            false => !matches_any(&self.include, name),
        }
    }

    /// Returns whether the interface called `name` is to be used.
    pub fn wants(&self, name: &str, is_loopback: bool) -> bool {
        if self.loopback_only || is_loopback {
            return self.loopback_only && is_loopback;
        }
        if !self.include.is_empty() {
            return matches_any(&self.include, name);
        }
        !is_virtual(name) && !matches_any(&self.exclude, name)
    }
}

fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        })
}

/// Bridges that container and virtual-machine systems make for themselves: nobody else is on them,
/// and announcing their addresses would send others to places that they cannot reach. (The far ends
/// inside containers are called `eth0` and are used.)
fn is_virtual(name: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "docker",
        "virbr",
        "lxcbr",
        "lxdbr",
        "incusbr",
        "podman",
        "cni",
        "flannel",
        "cali",
        "kube",
        "vmnet",
        "vboxnet",
        "vEthernet",
        "cilium",
    ];
    // Docker's own networks are `br-` and twelve hexadecimal digits; `br-lan` is somebody's real
    // LAN.
    let docker_network = |name: &str| {
        name.strip_prefix("br-")
            .is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    BEGINNINGS
        .iter()
        .any(|beginning| name.starts_with(beginning))
        || docker_network(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_networks_only_by_default() {
        let filter = InterfaceFilter::default();
        for wanted in [
            "eth0", "enp3s0", "wlan0", "br-lan", "br0", "bond0", "en0", "veth-a",
        ] {
            assert!(filter.wants(wanted, false), "{wanted}");
        }
        for unwanted in [
            "docker0",
            "br-0123456789ab",
            "virbr0",
            "lxdbr0",
            "vmnet8",
            "cni0",
        ] {
            assert!(!filter.wants(unwanted, false), "{unwanted}");
        }
        assert!(!filter.wants("lo", true));
    }

    #[test]
    fn names_can_be_included_and_excluded() {
        let list = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let filter = InterfaceFilter {
            exclude: list(&["wlan*", "eth1"]),
            ..Default::default()
        };
        assert!(filter.wants("eth0", false) && filter.wants("eth10", false));
        assert!(!filter.wants("eth1", false) && !filter.wants("wlan3", false));
        let filter = InterfaceFilter {
            include: list(&["docker0", "en*"]),
            ..Default::default()
        };
        assert!(filter.wants("docker0", false) && filter.wants("enp1", false));
        assert!(!filter.wants("eth0", false) && !filter.wants("lo", true));
        let filter = InterfaceFilter {
            loopback_only: true,
            ..Default::default()
        };
        assert!(filter.wants("lo", true) && !filter.wants("eth0", false));
    }
}
