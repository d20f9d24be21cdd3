//! The identities of a machine.

/// The identities of a machine that the kubelet also reports. Some machines lack one or the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// `/proc/sys/kernel/random/boot_id`: of this boot.
    pub boot_id: Option<String>,
    /// `/etc/machine-id` of the host.
    pub machine_id: Option<String>,
}

impl Machine {
    /// True if `other` is this machine; none if they have no identity in common to compare.
    ///
    /// One equal identity is enough: after a boot the reported boot id is old until the kubelet reports again, and
    /// cloned machines share a machine id.
    pub fn is(&self, other: &Self) -> Option<bool> {
        let agrees = |a: &Option<String>, b: &Option<String>| Some(a.as_ref()? == b.as_ref()?);
        let compared = [
            agrees(&self.boot_id, &other.boot_id),
            agrees(&self.machine_id, &other.machine_id),
        ];
        compared.into_iter().flatten().reduce(|a, b| a || b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(boot: &str, id: &str) -> Machine {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Machine {
            boot_id: some(boot),
            machine_id: some(id),
        }
    }

    #[test]
    fn one_matching_identity_is_enough_and_none_in_common_proves_nothing() {
        let cases = [
            (machine("b", "m"), machine("b", "m"), Some(true)),
            (machine("b", "m"), machine("before", "m"), Some(true)),
            (machine("b", "m"), machine("b", "other"), Some(true)),
            (machine("b", "m"), machine("x", "y"), Some(false)),
            (machine("b", ""), machine("x", "m"), Some(false)),
            (machine("b", ""), machine("", "m"), None),
            (machine("", ""), machine("b", "m"), None),
        ];
        for (ours, theirs, same) in cases {
            assert_eq!(ours.is(&theirs), same, "{ours:?} {theirs:?}");
        }
    }
}
