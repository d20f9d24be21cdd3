//! The changes from one report to the next, for the log.

use std::collections::{BTreeMap, BTreeSet};

use crate::findings::report::{Report, Verdict};
use crate::model::client::ClientKey;
use crate::model::reading::{Gap, Hides, Reason, Source};

/// The state of the last report.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    verdict: Option<Verdict>,
    connected: BTreeSet<ClientKey>,
    gaps: BTreeMap<(Source, Reason, Hides), Gap>,
}

impl Transitions {
    /// Logs what is in `report` and was not in the one before.
    pub(super) fn log(&mut self, report: &Report) {
        if self.verdict != Some(report.verdict) {
            let before = self.verdict.map_or("none", Verdict::code);
            tracing::info!(verdict = %report.verdict, before, reason = report.verdict_reason, "verdict");
            self.verdict = Some(report.verdict);
        }
        self.log_clients(report);
        self.log_gaps(report);
    }

    fn log_clients(&mut self, report: &Report) {
        let Some(clients) = report.clients.known() else { return };
        let open = clients.iter().filter(|client| client.is_open());
        let connected: BTreeSet<ClientKey> = open.map(|client| client.key.clone()).collect();
        for key in connected.difference(&self.connected) {
            tracing::info!(client = %key.identity, engine = %key.engine, listener = %key.listener, "client connected");
        }
        for key in self.connected.difference(&connected) {
            tracing::info!(client = %key.identity, engine = %key.engine, listener = %key.listener, "client gone");
        }
        self.connected = connected;
    }

    fn log_gaps(&mut self, report: &Report) {
        let of = |source: Source| move |gap: &Gap| ((source, gap.reason, gap.hides), gap.clone());
        let gaps: BTreeMap<_, _> = report
            .sources
            .iter()
            .flat_map(|s| s.gaps.iter().map(of(s.source)))
            .collect();
        for ((source, reason, hides), gap) in gaps.iter().filter(|(key, _)| !self.gaps.contains_key(key)) {
            tracing::warn!(%source, %reason, %hides, gap = %gap, "cannot see");
        }
        for (source, reason, hides) in self.gaps.keys().filter(|key| !gaps.contains_key(key)) {
            tracing::info!(%source, %reason, %hides, "can see again");
        }
        self.gaps = gaps;
    }
}
