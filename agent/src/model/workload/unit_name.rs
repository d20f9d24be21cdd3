//! The lasting name of a unit: the name that its next run has too, without the counters, ids and addresses that differ between
//! runs.
//!
//! Relies on the form of such names: systemd's for a connection (`<template>@<n>-<pid>-<uid>`,
//! `<template>@<n>-<address>-<address>`), for `systemd-run` (`run-u<n>`, `run-r<id>`, `run-p<pid>-i<id>`), and the
//! desktop's for a scope (`app-<launcher>-<application>-<random>.scope`). An instance that a person named is kept.

use std::net::IpAddr;

use super::generated::{fold, is_decimal, is_hex_id};

/// Returns the name without the parts that change with each run; none if there is no such part.
pub(super) fn lasting(name: &str) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    let plain = unescaped(stem);
    let folded = match plain.split_once('@') {
        // The instance is the user.
        Some(("user" | "user-runtime-dir", _)) => return None,
        None if kind == "slice" && plain.starts_with("user-") => return None,
        Some((template, instance)) => of_instance(template, instance),
        None => of_systemd_run(&plain).map_or_else(|| of_plain(&plain, kind == "scope"), str::to_owned),
    };
    let folded = if folded.is_empty() { "*" } else { &folded };
    (folded != plain).then(|| format!("{folded}.{kind}"))
}

fn of_instance(template: &str, instance: &str) -> String {
    // dbus-broker: `dbus-:1.2-<name>@<n>`, with the connection's number and a counter.
    if let Some((_, name)) = template.strip_prefix("dbus-:").and_then(|rest| rest.split_once('-')) {
        return format!("dbus-{name}@");
    }
    let template = fold(template, "").unwrap_or_else(|| template.to_owned());
    if is_of_a_connection(instance) || is_address(instance) {
        return format!("{template}@");
    }
    let instance = fold(instance, "").unwrap_or_else(|| instance.to_owned());
    format!("{template}@{instance}")
}

/// True if systemd made the instance for one connection to a socket.
fn is_of_a_connection(instance: &str) -> bool {
    let mut parts = instance.split('-');
    let counted = parts.next().is_some_and(is_decimal);
    let rest: Vec<&str> = parts.collect();
    let pid = |text: &str| text.split('_').all(is_decimal); // `<pid>_<id of its pidfd>` since systemd 257
    counted
        && match rest[..] {
            ["unknown"] => true,
            [peer, uid] if pid(peer) && is_decimal(uid) => true,
            [here, there] => is_address(here) && is_address(there),
            _ => false,
        }
}

/// True for `10.0.0.1:22`, `2001:db8::1:22`, an address alone, or a vsock's `<cid>:<port>`.
fn is_address(text: &str) -> bool {
    let is_ip = |text: &str| {
        let text = text.trim_start_matches('[').trim_end_matches(']');
        text.split('%').next().is_some_and(|ip| ip.parse::<IpAddr>().is_ok())
    };
    let with_port = |(host, port): (&str, &str)| is_decimal(port) && (is_ip(host) || is_decimal(host));
    is_ip(text) || text.rsplit_once(':').is_some_and(with_port)
}

/// Returns the lasting part of a name that `systemd-run` generated.
fn of_systemd_run(plain: &str) -> Option<&'static str> {
    let rest = plain.strip_prefix("run-")?;
    let after = |prefix: char| rest.strip_prefix(prefix);
    if is_decimal(rest) {
        Some("run")
    } else if after('u').is_some_and(is_decimal) {
        Some("run-u")
    } else if after('r').is_some_and(|id| is_hex_id(id, 16)) {
        Some("run-r")
    } else {
        let (pid, id) = after('p')?.split_once("-i")?;
        (is_decimal(pid) && is_decimal(id)).then_some("run-p-i")
    }
}

fn of_plain(plain: &str, is_scope: bool) -> String {
    let folded = fold(plain, "").unwrap_or_else(|| plain.to_owned());
    if !is_scope {
        return folded;
    }
    // A machine's scope has a counter before the name: `machine-qemu-3-web-01`.
    if let Some((driver, rest)) = folded.strip_prefix("machine-").and_then(|rest| rest.split_once('-')) {
        let name = rest.split_once('-').filter(|(number, _)| is_decimal(number));
        return format!("machine-{driver}-{}", name.map_or(rest, |(_, name)| name));
    }
    // Only programs name scopes, and they put a counter at the end.
    let mut kept = folded.as_str();
    while let Some((before, last)) = kept.rsplit_once('-')
        && is_decimal(last)
    {
        kept = before;
    }
    kept.to_owned()
}

/// Replaces systemd's escapes `\x2d` (systemd.unit(5)). Any other text stays.
fn unescaped(stem: &str) -> String {
    let mut plain = String::with_capacity(stem.len());
    let mut rest = stem;
    while let Some((before, after)) = rest.split_once("\\x") {
        plain.push_str(before);
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(code) = code.filter(u8::is_ascii_graphic) {
            plain.push(char::from(code));
            rest = &after[2..];
        } else {
            plain.push_str("\\x");
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::workload::Unit;

    #[test]
    fn parts_that_change_with_each_run_go() {
        let table = [
            ("check-mk-agent@3148-1849349-997.service", "check-mk-agent@.service"),
            ("check-mk-agent@3-1849349_772-0.service", "check-mk-agent@.service"),
            ("check-mk-agent@3-unknown.service", "check-mk-agent@.service"),
            (
                r"check\x2dmk\x2dagent@3148\x2d1849349\x2d997.service",
                "check-mk-agent@.service",
            ),
            ("ssh@3-10.0.0.1:22-10.0.0.9:5555.service", "ssh@.service"),
            ("ssh@3-2001:db8::1:22-2001:db8::9:5555.service", "ssh@.service"),
            ("ssh@3-2:22-4294967295:5555.service", "ssh@.service"),
            ("tunnel@10.0.0.1.service", "tunnel@.service"),
            ("tunnel@fe80::1%eth0.service", "tunnel@.service"),
            ("job@0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a.service", "job@.service"),
            (
                "app-org.kde.dolphin@4f0e9d3b1f2e4f0e9d3b1f2e4f0e9d3b.service",
                "app-org.kde.dolphin@.service",
            ),
            (
                "dbus-:1.2-org.freedesktop.problems@0.service",
                "dbus-org.freedesktop.problems@.service",
            ),
            ("run-u42.service", "run-u.service"),
            ("run-42.scope", "run.scope"),
            ("run-r0123456789abcdef0123456789abcdef.scope", "run-r.scope"),
            ("run-p4711-i4712.scope", "run-p-i.scope"),
            (
                "snap.docker.docker-6ff2a3c1-5f0b-4b6e-8d6e-2b8c6f6f0a11.scope",
                "snap.docker.docker.scope",
            ),
            (
                "snap.docker.docker.6ff2a3c1-5f0b-4b6e-8d6e-2b8c6f6f0a11.scope",
                "snap.docker.docker.scope",
            ),
            (
                "tmux-spawn-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a.scope",
                "tmux-spawn.scope",
            ),
            (
                r"vte\x2dspawn\x2d0c2ab1c5\x2d7a3e\x2d4f0e\x2d9d3b\x2d1f2e3d4c5b6a.scope",
                "vte-spawn.scope",
            ),
            ("app-gnome-firefox-1234.scope", "app-gnome-firefox.scope"),
            (
                r"app-gnome-org.gnome.Terminal\x2d1234.scope",
                "app-gnome-org.gnome.Terminal.scope",
            ),
            ("podman-123.scope", "podman.scope"),
            ("kitty-1234-0.scope", "kitty.scope"),
            (r"machine-qemu\x2d3\x2dweb\x2d01.scope", "machine-qemu-web-01.scope"),
            ("buildah-buildah2814710285.scope", "buildah-buildah.scope"),
            ("build-4f0e9d3b1f2e.service", "build.service"),
            ("backup-20261130-203015.service", "backup.service"),
            ("dump-2026-11-30.service", "dump.service"),
            ("report-2026-11-30T20-21-17.service", "report.service"),
            ("backup@2026-11-30.service", "backup@.service"),
            (r"dump\x2d2026\x2d11\x2d30.service", "dump.service"),
            ("ci-1a2b3c4.scope", "ci.scope"),
            ("0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a.scope", "*.scope"),
        ];
        for (name, expected) in table {
            assert_eq!(lasting(name).as_deref(), Some(expected), "{name}");
            assert_eq!(lasting(expected), None, "{expected} lasts");
        }
    }

    #[test]
    fn a_remembered_name_stays_the_same() {
        for (name, expected) in [
            ("machine-qemu-3-01-web.scope", "machine-qemu-web.scope"),
            (
                "dbus-:1.2-:1.3-org.example.Tool@3.service",
                "dbus-org.example.Tool@.service",
            ),
        ] {
            let unit = |name: &str| Unit::System { name: name.to_owned() };
            assert_eq!(unit(name).lasting(), unit(expected));
            assert_eq!(unit(expected).lasting(), unit(expected));
        }
    }

    #[test]
    fn an_instance_that_a_person_names_stays() {
        for name in [
            "backup@orders.service",
            "postgresql@15-main.service",
            "getty@tty1.service",
            "openvpn@client2.service",
            "redis@6379.service",
            "ceph-osd@3.service",
            "app-org.kde.kate@autostart.service",
            r"my\x2dagent@a\x2db.service",
            r"odd\x.service",
            r"odd\xzz@\x2.service",
            "user@1000.service",
            "user@1234567890.service",
            "user-runtime-dir@1234567890.service",
            "user-1234567890.slice",
            "redis-6379.service",
            "nginx-1.25.service",
            "worker-3.service",
            "web-facade1.service",
            "run-backup.service",
            "run-user.service",
            "docker.socket",
            "init.scope",
            "system.slice",
            "@.service",
            "service",
            "",
        ] {
            assert_eq!(lasting(name), None, "{name}");
        }
    }
}
