//! The invocations of a [`KubeletProgram`] that run a kubelet, by their arguments. Several of these programs are many
//! programs in one, and `kubectl` is among them.

use super::KubeletProgram;

/// The names under which k3s is called, and whether it runs a kubelet then.
const K3S_NAMES: [(&str, bool); 5] = [
    ("k3s-server", true),
    ("k3s-agent", true),
    ("kubectl", false),
    ("crictl", false),
    ("ctr", false),
];

/// Flags of k3s, rke2 and k0s with a value that may come before their subcommand.
const FLAGS_IN_FRONT: [&str; 7] = [
    "--data-dir",
    "-d",
    "-data-dir",
    "--config",
    "-c",
    "--debugListenOn",
    "--status-socket",
];

impl KubeletProgram {
    /// True if a process with these arguments is a kubelet or contains one. False without arguments: the process is just
    /// ending.
    pub fn runs_kubelet(self, arguments: &[String]) -> bool {
        match self {
            Self::K3s => runs_k3s(arguments),
            Self::Hyperkube => subcommand(&mut words_after(arguments)) == Some("kubelet"),
            Self::Kubelet | Self::Kubelite => !arguments.is_empty(),
            Self::K0s | Self::Rke2 | Self::CriDockerd => false,
        }
    }

    /// True if a process with these arguments starts a kubelet, or serves CRI for one. While that kubelet is down, such a
    /// process shows that this is a node.
    pub fn works_for_kubelet(self, arguments: &[String]) -> bool {
        self.starts_kubelet(arguments) || self == Self::CriDockerd && !arguments.is_empty()
    }

    /// True if a process with these arguments starts a kubelet as a process of its own.
    pub fn starts_kubelet(self, arguments: &[String]) -> bool {
        let command = subcommand(&mut words_after(arguments));
        match self {
            Self::Rke2 => matches!(command, Some("server" | "agent")),
            Self::K0s => {
                let is_worker = |flag: &str| {
                    let name = flag.strip_suffix("=true").unwrap_or(flag);
                    name == "--enable-worker" || name == "--single"
                };
                command == Some("worker") || command == Some("controller") && words_after(arguments).any(is_worker)
            }
            Self::Kubelet | Self::Hyperkube | Self::K3s | Self::Kubelite | Self::CriDockerd => false,
        }
    }
}

/// True if k3s was called as a server or an agent, which is the first word after the program and its flags. Words of
/// its other subcommands may be anything. k3s replaces its arguments by a single one: `/usr/local/bin/k3s server`.
fn runs_k3s(arguments: &[String]) -> bool {
    let mut words = arguments.iter().flat_map(|argument| argument.split_whitespace());
    let program = words
        .next()
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or_default();
    if let Some((_, runs)) = K3S_NAMES.iter().find(|(name, _)| *name == program) {
        return *runs;
    }
    let is_node = matches!(subcommand(&mut words), Some("server" | "agent"));
    is_node && !words.any(|word| word == "--disable-agent" || word == "--disable-agent=true")
}

/// Returns the words after the program.
fn words_after(arguments: &[String]) -> impl Iterator<Item = &str> {
    arguments
        .iter()
        .flat_map(|argument| argument.split_whitespace())
        .skip(1)
}

/// Returns the first word that is neither a flag nor the value of one.
fn subcommand<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    while let Some(word) = words.next() {
        if FLAGS_IN_FRONT.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word);
        }
    }
    None
}
