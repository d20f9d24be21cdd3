//! What a machine is told apart from others by.

/// The identities that the kubelet reports of its machine as well. None is known everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// `/proc/sys/kernel/random/boot_id`: of this boot.
    pub boot_id: Option<String>,
    /// `/etc/machine-id` of the host.
    pub machine_id: Option<String>,
}

impl Machine {
    /// True if `other` is this machine; none where they have no identity in common to compare.
    ///
    /// One that agrees is enough: a boot id lags until the kubelet has reported after a boot, and machines that were
    /// cloned share a machine id.
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
    fn one_identity_that_agrees_is_enough_and_none_to_compare_says_nothing() {
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
