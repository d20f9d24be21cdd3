//! Obstacles to another release of Docker, and to a node without it.

use super::answer::{Effect, Obstacle};
use super::{Grounds, hidden, of_catalogue};
use crate::findings::releases::Version;
use crate::findings::report::{Code, Verdict};
use crate::model::reading::Reading;

/// The first release of Docker that refuses old versions of its API.
const RAISES_MINIMUM: Version = Version(29, 0);

/// Docker 29 refuses clients of an old API version. The versions that were seen are the findings' to say; no client is known
/// to use no other.
pub(super) fn add_release(grounds: &Grounds, version: Version, found: &mut Vec<Obstacle>) {
    let code = Code::OldDockerApi;
    let obstacle = |message: String| Obstacle::new(Effect::MayBlock, code, of_catalogue(code), message);
    match grounds.verdict {
        Verdict::Runtime | Verdict::InUse if version >= RAISES_MINIMUM => found.push(obstacle(format!(
            "Docker {} refuses clients of an old API version, and a client may use one that was not seen ({})",
            version.0, grounds.verdict_reason
        ))),
        Verdict::Unknown => found.push(obstacle(format!(
            "who uses Docker could not be seen: {}",
            grounds.verdict_reason
        ))),
        _ => {}
    }
}

/// A node is ready to do without Docker where nobody can use it and the kubelet's runtime stays.
pub(super) fn add_removal(grounds: &Grounds, found: &mut Vec<Obstacle>) {
    let (effect, code) = match grounds.verdict {
        Verdict::Runtime => (Effect::Blocks, Code::RuntimeIsDocker),
        Verdict::InUse => (Effect::Blocks, Code::SocketClient),
        Verdict::Exposed => (Effect::Blocks, Code::SocketExposure),
        Verdict::Unknown => (Effect::MayBlock, Code::BlindSpot),
        Verdict::Idle | Verdict::Clear => return add_shared(grounds, found),
    };
    let reason = grounds.verdict_reason.clone();
    found.push(Obstacle::new(effect, code, of_catalogue(code), reason));
    add_shared(grounds, found);
}

/// Adds what must stay when Docker goes.
fn add_shared(grounds: &Grounds, found: &mut Vec<Obstacle>) {
    let code = Code::SharedContainerd;
    let said = of_catalogue(code);
    match &grounds.shared_containerd {
        Reading::Known(why) => {
            let message = format!("the kubelet's containerd must stay: {why}");
            found.push(Obstacle::new(Effect::Note, code, said, message));
        }
        // Where there is no Docker there is nothing to remove.
        Reading::Unknown(gap) if grounds.verdict != Verdict::Clear => {
            found.push(hidden(code, said, "whether the kubelet's containerd is Docker's", gap));
        }
        Reading::Absent | Reading::Unknown(_) => {}
    }
}
