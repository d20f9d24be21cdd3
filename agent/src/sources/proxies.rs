//! The proxies in the environment of a process.

use crate::model::daemon_config::{Hidden, PROXY_VARIABLES, Proxies};
use crate::model::process::Process;
use crate::model::reading::{Hides, Reading};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::processes::ProcessReader;

/// The same variables in lower case, which count where the others are not set (Go's `net/http` and `httpproxy`).
const LOWER_CASE: [&str; 3] = ["http_proxy", "https_proxy", "no_proxy"];

/// Reads the proxies of a process; absent if it has ended.
pub(super) fn read(reader: &ProcessReader, process: &Process) -> Reading<Proxies> {
    let names = [PROXY_VARIABLES, LOWER_CASE].concat();
    match reader.read_variables(process.key, &names) {
        Ok(found) => {
            let value = |name: &str| found.iter().find(|(own, value)| own == name && !value.is_empty());
            let each = PROXY_VARIABLES.into_iter().zip(LOWER_CASE);
            let set = each.filter_map(|(name, lower)| {
                let (_, value) = value(name).or_else(|| value(lower))?;
                Some((name, Hidden(value.clone())))
            });
            Reading::Known(set.collect())
        }
        Err(error) if refusal::is_gone(&error) => Reading::Absent,
        Err(error) => {
            let asked = format_args!("the proxies of {} (pid {})", process.program(), process.key.pid);
            Reading::Unknown(refusal::gap(&error, Hides::Detail, asked, Right::Trace))
        }
    }
}
