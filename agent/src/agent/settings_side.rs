//! The look at the settings of Docker and of the runtime. It comes after the runtime has answered and its process is
//! known, because the arguments of that process name the files. Each of its gaps hides a detail.

use crate::findings::report::SourceStatus;
use crate::model::daemon_config::{DaemonSettings, RuntimeProgram};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting, Source};
use crate::model::runtime::Runtime;
use crate::model::snapshot::Snapshot;
use crate::sources::runtime_settings::{RuntimeAsked, SettingsAsked};

use super::disk_side::FileSide;
use super::{Agent, HOST_DEADLINE, gap_of};

impl Agent {
    /// Adds the settings of both to the snapshot, and the gaps to the sources.
    pub(super) async fn add_settings(&mut self, snapshot: &mut Snapshot, sources: &mut [SourceStatus]) {
        snapshot.settings = self.look_at_settings(snapshot).await;
        add_gaps(&snapshot.settings, sources);
    }

    async fn look_at_settings(&mut self, snapshot: &Snapshot) -> Sighting<DaemonSettings> {
        let runtime = match &snapshot.runtime.runtime.reading {
            Reading::Known(runtime) => runtime,
            Reading::Absent => return Sighting::absent(),
            Reading::Unknown(gap) => {
                let asked = "the settings of the runtime";
                return Sighting::unknown(Gap::new(Reason::DependsOnAnother, Hides::Detail, asked, gap));
            }
        };
        let Some(runtime) = asked_of(runtime, snapshot) else {
            return Sighting::absent();
        };
        if let Reading::Unknown(gap) = &snapshot.engines.reading {
            let asked = "the settings of Docker";
            return Sighting::unknown(Gap::new(Reason::DependsOnAnother, Hides::Detail, asked, gap));
        }
        let engines = snapshot.engines.reading.items().iter();
        let daemons = engines.filter(|engine| engine.is_dockerd_of_host());
        let asked = SettingsAsked {
            daemons: daemons.filter_map(|engine| engine.process.clone()).collect(),
            runtime,
        };
        let look = move |files: &mut FileSide| files.look_at_settings(&asked);
        let seen = self.files.run(HOST_DEADLINE, look).await;
        seen.unwrap_or_else(|error| Sighting::unknown(gap_of(error, Hides::Detail)))
    }
}

/// Returns the runtime to ask; none if castoff does not know its settings.
fn asked_of(runtime: &Runtime, snapshot: &Snapshot) -> Option<RuntimeAsked> {
    let program = match runtime.name.as_str() {
        "containerd" => RuntimeProgram::Containerd,
        "cri-o" => RuntimeProgram::CriO,
        "docker" => return Some(RuntimeAsked::Planned),
        _ => return None,
    };
    let process = snapshot
        .runtime_socket
        .known()
        .and_then(|socket| socket.server.process.clone())
        .map(Box::new);
    Some(RuntimeAsked::Serves {
        program,
        version: runtime.version.clone(),
        endpoint: runtime.canonical_path.clone(),
        process,
    })
}

/// Adds the gaps of this look to the host's files, unless they have them already.
fn add_gaps(settings: &Sighting<DaemonSettings>, sources: &mut [SourceStatus]) {
    let Some(status) = sources.iter_mut().find(|status| status.source == Source::HostFiles) else {
        return;
    };
    for gap in settings.all_gaps() {
        let is_said = |said: &Gap| (&said.asked, &said.answer) == (&gap.asked, &gap.answer);
        // The gap of the other look is reported already, and hides more.
        if gap.reason != Reason::DependsOnAnother && !status.gaps.iter().any(is_said) {
            gap.clone().fold_into(&mut status.gaps);
        }
    }
}
