//! Metrics of the node as a whole.

use super::Build;
use super::catalogue as c;
use super::family::{Family, length, number};
use crate::findings::readiness::answer::Answer;
use crate::findings::report::{Code, KubeletCeiling, Report, Severity, Verdict};
use crate::model::engine::{EngineKind, Scope};
use crate::model::reading::Reading;

pub(super) fn families(build: Build, report: Option<&Report>) -> Vec<Family> {
    let mut info = Family::new(&c::BUILD_INFO);
    info.add([build.version, build.revision], 1.0);
    let mut families = vec![info, verdict(report)];
    if let Some(report) = report {
        families.extend([
            node_info(report),
            runtime_info(report),
            kubelet_ceiling(report),
            ready(report),
            report_timestamp(report),
            engines(report),
            shadow_containers(report),
            docker_free(report),
            findings(report),
        ]);
    }
    families
}

fn verdict(report: Option<&Report>) -> Family {
    let holds = report.map_or(Verdict::Unknown, |r| r.verdict);
    let mut family = Family::new(&c::NODE_VERDICT);
    for verdict in Verdict::ALL {
        family.add([verdict.code()], if *verdict == holds { 1.0 } else { 0.0 });
    }
    family
}

fn node_info(report: &Report) -> Family {
    let cgroups = report.cgroups.known().map_or("(unknown)", |v| v.code());
    let mut family = Family::new(&c::NODE_INFO);
    family.add([report.node.as_deref().unwrap_or("(unknown)"), cgroups], 1.0);
    family
}

fn runtime_info(report: &Report) -> Family {
    let mut family = Family::new(&c::RUNTIME_INFO);
    if let Reading::Known(runtime) = &report.runtime {
        let driver = match &runtime.cgroup_driver {
            Reading::Known(driver) => driver.code(),
            Reading::Absent => "(not reported)",
            Reading::Unknown(_) => "(unknown)",
        };
        family.add([&runtime.name, &runtime.version, runtime.api.code(), driver], 1.0);
    }
    family
}

fn kubelet_ceiling(report: &Report) -> Family {
    let mut family = Family::new(&c::KUBELET_CEILING);
    if let Reading::Known(KubeletCeiling::Minor(minor)) = &report.kubelet_ceiling {
        family.add([], f64::from(*minor));
    }
    family
}

fn ready(report: &Report) -> Family {
    let mut family = Family::new(&c::READY);
    for ready in &report.readiness {
        let target = ready.target.to_string();
        for answer in Answer::ALL {
            family.add(
                [&target, answer.code()],
                if *answer == ready.answer { 1.0 } else { 0.0 },
            );
        }
    }
    family
}

fn report_timestamp(report: &Report) -> Family {
    let mut family = Family::new(&c::REPORT_TIMESTAMP);
    family.add([], number(report.time.as_unix()));
    family
}

fn engines(report: &Report) -> Family {
    let mut family = Family::new(&c::ENGINES);
    let Some(engines) = seen(&report.engines) else {
        return family;
    };
    for kind in EngineKind::ALL {
        for scope in Scope::CODES {
            family.add([kind.code(), scope], 0.0);
        }
    }
    for engine in engines {
        family.add([engine.kind.code(), engine.scope.code()], 1.0);
    }
    family
}

fn shadow_containers(report: &Report) -> Family {
    let mut family = Family::new(&c::SHADOW_CONTAINERS);
    let Some(shadows) = seen(&report.shadow_containers) else {
        return family;
    };
    for engine in EngineKind::ALL {
        let of_engine: Vec<_> = shadows.iter().filter(|s| s.engine == *engine).collect();
        family.add([engine.code()], length(&of_engine));
    }
    family
}

fn docker_free(report: &Report) -> Family {
    let mut family = Family::new(&c::DOCKER_FREE_SINCE);
    if let Reading::Known(free) = &report.docker_free {
        family.add([free.by.code()], number(free.since.as_unix()));
    }
    family
}

fn findings(report: &Report) -> Family {
    let mut family = Family::new(&c::FINDINGS);
    for code in Code::ALL {
        for severity in Severity::ALL {
            family.add([code.code(), severity.code()], 0.0);
        }
    }
    for finding in &report.findings {
        family.add([finding.code.code(), finding.severity.code()], 1.0);
    }
    family
}

/// The items that were seen, perhaps none; `None` where they are unknown.
pub(super) fn seen<T>(reading: &Reading<Vec<T>>) -> Option<&[T]> {
    match reading {
        Reading::Known(items) => Some(items),
        Reading::Absent => Some(&[]),
        Reading::Unknown(_) => None,
    }
}
