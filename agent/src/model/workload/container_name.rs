//! The lasting name of an engine's container: the name that its next run has too.
//!
//! Docker generates a name for a container without one, and so do the programs that run a container for each job or
//! test. Such a container is identified by its image and the pattern of its name. A name that a person chose is kept.

mod docker_words;

use super::generated::{self, is_decimal, is_hex_id};
use docker_words::{ADJECTIVES, SURNAMES};

/// The mark of a generated part: no container's name contains it.
const MADE_UP: &str = "*";

/// The prefix of buildx' containers, before the builder's name and the node's number.
const BUILDX: &str = "buildx_buildkit_";

/// The name of a container of which neither name nor image is known: all such containers are one client.
pub const NOT_KNOWN: &str = "without a known name";

/// Returns the name that the container's next run has too, and its image if the name was generated or is not known. None if
/// neither is known.
pub fn lasting(name: Option<&str>, image: Option<&str>) -> Option<(String, Option<String>)> {
    match name {
        Some(name) => Some(pattern(name, image).unwrap_or_else(|| (name.to_owned(), None))),
        None => Some((MADE_UP.to_owned(), Some(repository(image?)?))),
    }
}

/// Returns the pattern and the image of a container whose name was generated; none if a person chose it, or if the name
/// alone distinguishes it from others.
fn pattern(name: &str, image: Option<&str>) -> Option<(String, Option<String>)> {
    let repository = image.and_then(repository);
    let pattern = of_random(name)
        .or_else(|| of_gitlab(name))
        .or_else(|| of_actions(name, image))
        .or_else(|| generated::fold(name, MADE_UP))?;
    if repository.is_none() && !pattern.contains(char::is_alphanumeric) {
        return None;
    }
    Some((pattern, repository))
}

/// Matches `happy_einstein`, `frosty_morse2`: the names of Docker and Podman, also as the name of a buildx builder.
fn of_random(name: &str) -> Option<String> {
    let (prefix, own) = match name.strip_prefix(BUILDX) {
        Some(own) => (BUILDX, own.strip_suffix(|c: char| c.is_ascii_digit())?),
        None => ("", name),
    };
    let (adjective, surname) = own.split_once('_')?;
    let surname = surname.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_one_of = |words: &str, word: &str| words.split_ascii_whitespace().any(|w| w == word);
    (is_one_of(ADJECTIVES, adjective) && is_one_of(SURNAMES, surname)).then(|| format!("{prefix}{MADE_UP}"))
}

/// Matches `runner-<token>-project-<id>-concurrent-<n>-<id>-<step>` of a GitLab runner, whose `<n>` is a free slot.
fn of_gitlab(name: &str) -> Option<String> {
    let (runner, rest) = name.strip_prefix("runner-")?.split_once("-project-")?;
    let (project, rest) = rest.split_once("-concurrent-")?;
    let (slot, rest) = rest.split_once('-').unwrap_or((rest, ""));
    if !(is_decimal(project) && is_decimal(slot)) {
        return None;
    }
    let step = generated::fold(rest, MADE_UP).unwrap_or_else(|| rest.to_owned());
    let step = step.strip_prefix(MADE_UP).unwrap_or(&step).trim_start_matches('-');
    let step = if step.is_empty() {
        String::new()
    } else {
        format!("-{step}")
    };
    Some(format!("runner-{runner}-project-{project}-concurrent-{MADE_UP}{step}"))
}

/// Matches `<image>_<6 digits>` and `<id>_<image>_<6 digits>` of GitHub's runner, with only the letters and digits of the image.
fn of_actions(name: &str, image: Option<&str>) -> Option<String> {
    let (before, random) = name.rsplit_once('_')?;
    if random.len() != 6 || !random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let bare = |image: &str| image.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let (id, of) = before.split_once('_').unwrap_or(("", before));
    let by_image = image.is_some_and(|image| bare(image) == before);
    if by_image || is_hex_id(before, 32) {
        return Some(MADE_UP.to_owned());
    }
    is_hex_id(id, 32).then(|| format!("{MADE_UP}_{of}_{MADE_UP}"))
}

/// Returns an image without its tag and digest, and without what was generated: the next release of a tool is the same client.
fn repository(image: &str) -> Option<String> {
    let name = without_tag(image)?;
    Some(generated::fold(name, MADE_UP).unwrap_or_else(|| name.to_owned()))
}

/// Returns an image without its tag and digest. None for a bare id.
pub fn without_tag(image: &str) -> Option<&str> {
    let image = image.split('@').next()?;
    let tag = image.rfind(':').filter(|colon| !image[*colon..].contains('/'));
    let name = &image[..tag.unwrap_or(image.len())];
    let is_id = name == "sha256" || is_hex_id(name, 12);
    (!name.is_empty() && !is_id).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_of_one_program_have_one_pattern() {
        let ryuk = "testcontainers/ryuk:0.12.0";
        let cases = [
            (
                "testcontainers-ryuk-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a",
                ryuk,
                "testcontainers-ryuk-*",
                "testcontainers/ryuk",
            ),
            (
                "happy_einstein",
                "reg.example:5000/ci/maven:3.9",
                "*",
                "reg.example:5000/ci/maven",
            ),
            ("frosty_morse2", "alpine@sha256:0c2ab1c57a3e4f0e", "*", "alpine"),
            ("shop-web-run-4f0e9d3b1f2e", "shop-web", "shop-web-run-*", "shop-web"),
            ("backup-20261130-203015", "ops/dump:2", "backup-*", "ops/dump"),
            ("dump_2026-11-30", "ops/dump:2", "dump_*", "ops/dump"),
            ("shop-1a2b3c4", "shop:1a2b3c4", "shop-*", "shop"),
            (
                "buildx_buildkit_happy_einstein0",
                "moby/buildkit:buildx-stable-1",
                "buildx_buildkit_*",
                "moby/buildkit",
            ),
            (
                "buildx_buildkit_builder-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a0",
                "moby/buildkit:v0.16",
                "buildx_buildkit_builder-*",
                "moby/buildkit",
            ),
            (
                "runner-xyfk3gqk-project-23-concurrent-0-4f0e9d3b1f2e4f0e-build",
                "docker:27",
                "runner-xyfk3gqk-project-23-concurrent-*-build",
                "docker",
            ),
            (
                "ghcriogithubsuperlinterv4_1a2b3c",
                "ghcr.io/github/super-linter:v4",
                "*",
                "ghcr.io/github/super-linter",
            ),
            (
                "0c2ab1c57a3e4f0e9d3b1f2e3d4c5b6a_postgres14_4b1f2a",
                "postgres:14",
                "*_postgres14_*",
                "postgres",
            ),
        ];
        for (name, image, expected, repository) in cases {
            let expected = Some((expected.to_owned(), Some(repository.to_owned())));
            assert_eq!(pattern(name, Some(image)), expected, "{name}");
        }
        let slot = |n: u32, id: &str| {
            pattern(
                &format!("runner-x-project-23-concurrent-{n}-{id}-build"),
                Some("docker:27"),
            )
        };
        assert_eq!(
            slot(0, "4f0e9d3b1f2e4f0e"),
            slot(7, "1f2e4f0e4f0e9d3b"),
            "whichever slot is free"
        );
    }

    #[test]
    fn a_name_that_a_person_gave_stays() {
        for name in [
            "portainer",
            "happy_path",
            "web_einstein",
            "shop-web-1",
            "buildx_buildkit_mybuilder0",
            "postgres_decade",
            "runner-3",
            "nginx-1.25",
            "redis-6379",
            "web-facade1",
            "kind-control-plane",
            "",
        ] {
            assert_eq!(pattern(name, Some("shop/web:1")), None, "{name}");
        }
    }

    #[test]
    fn a_container_without_a_name_is_identified_by_its_image() {
        let by_image = Some(("*".to_owned(), Some("ci/maven".to_owned())));
        assert_eq!(lasting(None, Some("ci/maven:3.9")), by_image);
        assert_eq!(lasting(None, Some("sha256:0c2ab1c57a3e")), None, "an id is no name");
        assert_eq!(lasting(None, None), None);
        assert_eq!(lasting(Some("web"), Some("nginx:1")), Some(("web".to_owned(), None)));
    }

    #[test]
    fn a_generated_name_without_an_image_stays() {
        assert_eq!(pattern("happy_einstein", None), None);
        assert_eq!(pattern("4c5f8a2b9d1e", Some("sha256:0c2ab1c57a3e")), None);
        let ryuk = pattern("ryuk-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a", None);
        assert_eq!(ryuk, Some(("ryuk-*".to_owned(), None)));
    }
}
