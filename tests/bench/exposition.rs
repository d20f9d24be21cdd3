//! The agent's own metrics and report, as the bench reads them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::report::Agent;
use serde_json::Value;

/// The text of `/metrics`, checked line by line.
#[derive(Debug)]
pub(crate) struct Exposition {
    text: String,
    /// The number of series.
    pub(crate) series: usize,
}

impl Exposition {
    /// Reads the metrics of an agent.
    ///
    /// # Errors
    /// A line is not one of the text format.
    pub(crate) fn of(agent: &Agent) -> Result<Self> {
        Self::parse(agent.get("/metrics")?)
    }

    fn parse(text: String) -> Result<Self> {
        let mut series = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').context("a name and a value")?;
            let family = name.split('{').next().unwrap_or_default();
            let is_name = family.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let has_labels = name.len() == family.len() || name.ends_with('}');
            let is_sample = !family.is_empty() && is_name && has_labels && value.parse::<f64>().is_ok();
            ensure!(is_sample, "/metrics has the line {line:?}");
            series += 1;
        }
        ensure!(series > 0, "/metrics has no series");
        Ok(Self { text, series })
    }

    fn value(&self, sample: &str) -> Result<f64> {
        let value = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
        value.with_context(|| format!("{sample} in /metrics"))
    }

    /// Returns the number of looks that have ended.
    pub(crate) fn looks(&self) -> Result<f64> {
        self.value("castoff_cycle_duration_seconds_count")
    }

    /// Returns the mean duration of all looks.
    pub(crate) fn mean_look(&self) -> Result<Duration> {
        let sum = self.value("castoff_cycle_duration_seconds_sum")?;
        Ok(Duration::from_secs_f64(sum / self.looks()?.max(1.0)))
    }

    /// Returns the mean duration of the looks after those that `before` counts.
    pub(crate) fn mean_look_since(&self, before: &Self) -> Result<Duration> {
        let sum = |text: &Self| text.value("castoff_cycle_duration_seconds_sum");
        let looks = self.looks()? - before.looks()?;
        ensure!(looks > 0.0, "no look has ended in between");
        Ok(Duration::from_secs_f64((sum(self)? - sum(before)?) / looks))
    }
}

/// True if the report has the unit among the clients, with a connection now.
pub(crate) fn has_connection(report: &Value, unit: &str) -> bool {
    clients_of(report, unit).any(|client| client["connections"].as_u64() > Some(0))
}

/// Returns the clients that are this unit: one for each listener.
pub(crate) fn clients_of<'a>(report: &'a Value, unit: &'a str) -> impl Iterator<Item = &'a Value> {
    let clients = report["clients"]["value"].as_array().into_iter().flatten();
    clients.filter(move |client| client["identity"]["unit"]["name"] == unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_a_sample_is_refused() {
        let good = "# HELP a b\na{b=\"c d\"} 1\na_sum 2.5e-3\n";
        assert_eq!(Exposition::parse(good.to_owned()).expect("the text format").series, 2);
        for bad in ["a", "a{b=\"c\" 1", "a b", " 1", "a-b 1", ""] {
            assert!(Exposition::parse(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
