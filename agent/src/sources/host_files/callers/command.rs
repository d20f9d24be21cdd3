//! Calls of Docker's clients in a line of a shell, of a unit, of cron, or of cloud-init.

use crate::sources::systemd::{ENDS, words};

/// The clients of a Docker API. `podman` is one only with `--remote`.
const CLIENTS: [&str; 5] = [
    "docker",
    "docker-compose",
    "docker-current",
    "podman-remote",
    "balena-engine",
];

/// The subcommands of these clients (docker(1), docker-compose(1)).
const SUBCOMMANDS: [&str; 53] = [
    "attach",
    "build",
    "builder",
    "buildx",
    "commit",
    "compose",
    "config",
    "container",
    "context",
    "cp",
    "create",
    "diff",
    "down",
    "events",
    "exec",
    "export",
    "history",
    "image",
    "images",
    "import",
    "info",
    "inspect",
    "kill",
    "load",
    "login",
    "logout",
    "logs",
    "manifest",
    "network",
    "node",
    "pause",
    "plugin",
    "port",
    "ps",
    "pull",
    "push",
    "rename",
    "restart",
    "rm",
    "rmi",
    "run",
    "save",
    "search",
    "secret",
    "stack",
    "start",
    "stats",
    "stop",
    "swarm",
    "system",
    "up",
    "version",
    "volume",
];

/// Words after which a client's name is an argument: a package, a unit, a file.
const NAMED_BY: [&str; 8] = [
    "install",
    "remove",
    "purge",
    "service",
    "systemctl",
    "which",
    "type",
    "man",
];

/// Returns the client that a line calls, if it calls one.
pub(super) fn client(line: &str) -> Option<&'static str> {
    without_comment(line).split(ENDS).find_map(client_of_command)
}

/// Returns the absolute paths in a line, which may be scripts.
pub(super) fn paths(line: &str) -> impl Iterator<Item = &str> {
    words(without_comment(line)).filter(|word| word.starts_with('/') && word.len() > 1)
}

fn client_of_command(command: &str) -> Option<&'static str> {
    let words: Vec<&str> = words(command).collect();
    words.iter().enumerate().find_map(|(at, word)| {
        let name = word.rsplit('/').next().unwrap_or(word);
        let next = words.get(at + 1).copied().unwrap_or_default();
        if name == "podman" {
            return words.contains(&"--remote").then_some("podman --remote");
        }
        let client = CLIENTS.iter().find(|client| **client == name && is_program(word))?;
        let is_named = words[..at].iter().any(|before| NAMED_BY.contains(before));
        let is_call = SUBCOMMANDS.contains(&next) || next.starts_with('-');
        (is_call && !is_named).then_some(*client)
    })
}

/// True for a name alone and for a path in a directory of programs: `/var/lib/docker` is none.
fn is_program(word: &str) -> bool {
    word.rsplit_once('/')
        .is_none_or(|(directory, _)| directory.ends_with("bin"))
}

/// Returns a line up to a comment: a `#` at the beginning of a word.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_whole_word_with_a_subcommand_or_an_option() {
        #[rustfmt::skip]
        let table: [(&str, Option<&str>); 27] = [
            ("docker ps", Some("docker")),
            ("/usr/bin/docker run --rm alpine", Some("docker")),
            ("sudo -u root timeout 10 docker exec web true", Some("docker")),
            ("* * * * * root test -e /x && docker system prune -f", Some("docker")),
            ("if docker-compose -f /a.yml up -d; then", Some("docker-compose")),
            ("x=$(docker -H tcp://a:2375 info)", Some("docker")),
            ("  - [ docker, pull, \"alpine\" ]", Some("docker")),
            ("  - docker login -u u -p hunter2", Some("docker")),
            ("sh -c 'docker rm -f web'", Some("docker")),
            ("podman --remote ps", Some("podman --remote")),
            ("podman-remote ps", Some("podman-remote")),
            ("curl x | docker load", Some("docker")),
            ("podman ps", None),
            ("systemctl restart docker", None),
            ("systemctl stop docker && rm /x", None),
            ("service docker restart", None),
            ("apt-get install -y docker compose", None),
            ("  - docker", None),
            ("  - docker.io", None),
            ("command -v docker >/dev/null", None),
            ("dockerd --debug", None),
            ("mydocker ps", None),
            ("docker-gen -watch", None),
            ("rm -rf /var/lib/docker -v", None),
            ("true # docker ps", None),
            ("echo a#docker ps", None),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(client(line), expected, "{line}");
        }
    }

    #[test]
    fn only_absolute_paths_may_be_scripts() {
        let found: Vec<&str> = paths("/usr/local/bin/a.sh x=/b \"/c d\" ; ./e / '/f'").collect();
        assert_eq!(found, ["/usr/local/bin/a.sh", "/c", "/f"]);
    }
}
