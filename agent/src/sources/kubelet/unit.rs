//! The unit that starts the kubelet: it shows a node and the kubelet's flags while no kubelet runs.

use super::flags::Flags;
use crate::model::kubelet::KubeletProgram;
use crate::sources::kernel::rooted::Rooted;
use crate::sources::systemd::{environment, is_masked, list_enabled, read_unit, start_commands};

/// An enabled unit that starts a kubelet, or a program with one.
pub(super) struct KubeletUnit {
    /// The path of its file.
    pub(super) path: String,
    /// The program that it starts.
    pub(super) program: KubeletProgram,
    /// The flags in its command and in its environment.
    pub(super) flags: Flags,
}

/// Finds the first enabled unit that starts a kubelet, by its command.
pub(super) fn find(root: &Rooted) -> Option<KubeletUnit> {
    // What cannot be read has a gap of Docker's leftovers already.
    let enabled = list_enabled(root, &mut |_, _| {});
    let mut services = enabled.into_iter().filter(|unit| unit.name.ends_with(".service"));
    services.find_map(|unit| read(root, &unit.name).filter(|_| !is_masked(root, &unit.name)))
}

fn read(root: &Rooted, unit: &str) -> Option<KubeletUnit> {
    let texts = read_unit(root, unit);
    let commands = texts
        .iter()
        .flat_map(|(path, text)| start_commands(text).map(move |words| (path, words)));
    let started = commands.filter_map(|(path, words)| Some((path, kubelet_in(&words)?)));
    let (path, (program, arguments)) = started.last()?; // a drop-in replaces the command
    let values: Vec<String> = texts.iter().flat_map(|(_, text)| environment(text)).collect();
    let of_environment = values.iter().flat_map(|value| value.split_whitespace());
    let arguments = arguments.iter().skip(1).map(String::as_str);
    Some(KubeletUnit {
        path: path.clone(),
        program,
        flags: Flags::parse(arguments.chain(of_environment)),
    })
}

/// Returns the program with a kubelet in a command, and the arguments from its name on. A shell may be in front.
fn kubelet_in(words: &[String]) -> Option<(KubeletProgram, Vec<String>)> {
    (0..words.len()).find_map(|at| {
        let program = KubeletProgram::of(words[at].rsplit('/').next()?)?;
        let arguments = &words[at..];
        let starts = program.runs_kubelet(arguments) || program.starts_kubelet(arguments);
        starts.then(|| (program, arguments.to_vec()))
    })
}
