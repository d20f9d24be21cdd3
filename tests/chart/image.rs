//! The image of the pods, and their pull secrets.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::render::{Rendering, of_kind, read};

/// The version of this tree, which is the default tag.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the pod of the agents.
fn pod(rendering: &Rendering) -> Result<Value> {
    let objects = rendering.objects()?;
    let agent = *of_kind(&objects, "DaemonSet").first().context("a DaemonSet")?;
    Ok(agent["spec"]["template"]["spec"].clone())
}

#[test]
fn an_image_is_named_in_parts_or_as_a_whole() -> Result<()> {
    for (values, image) in [
        (&[][..], "ghcr.io/castoff/castoff:VERSION"),
        (&["image.registry=", "image.repository=castoff"], "castoff:VERSION"),
        (
            &[
                "image.registry=registry.example:5000",
                "image.repository=mirror/castoff",
            ],
            "registry.example:5000/mirror/castoff:VERSION",
        ),
        (
            &["image.repository=registry.example/castoff"],
            "registry.example/castoff:VERSION",
        ),
        (
            &["image.repository=mirror:5000/team/castoff", "image.tag=v2"],
            "mirror:5000/team/castoff:v2",
        ),
        (&["image.repository=localhost/castoff"], "localhost/castoff:VERSION"),
        (
            &["global.imageRegistry=registry.example"],
            "registry.example/castoff/castoff:VERSION",
        ),
    ] {
        let rendering = values
            .iter()
            .fold(Rendering::new(), |rendering, value| rendering.set(value));
        assert_eq!(
            pod(&rendering)?["containers"][0]["image"],
            image.replace("VERSION", VERSION),
            "{values:?}"
        );
    }
    Ok(())
}

#[test]
fn pull_secrets_are_given_by_name_or_as_in_a_pod() -> Result<()> {
    for values in [
        &["imagePullSecrets[0]=own", "imagePullSecrets[1]=shared"][..],
        &["imagePullSecrets[0].name=own", "imagePullSecrets[1].name=shared"],
        &["global.imagePullSecrets[0]=own", "imagePullSecrets[0].name=shared"],
        &[
            "global.imagePullSecrets[0]=own",
            "imagePullSecrets[0].name=own",
            "imagePullSecrets[1]=shared",
        ],
    ] {
        let rendering = values
            .iter()
            .fold(Rendering::new(), |rendering, value| rendering.set(value));
        let secrets = json!([{ "name": "own" }, { "name": "shared" }]);
        assert_eq!(pod(&rendering)?["imagePullSecrets"], secrets, "{values:?}");
    }
    Ok(())
}

/// An image that was built and imported is the one that the pods use.
#[test]
fn the_built_image_has_the_charts_name() -> Result<()> {
    let pod = pod(&Rendering::new())?;
    let image = pod["containers"][0]["image"].as_str().context("an image")?;
    let (name, _) = image.rsplit_once(':').context("a tag")?;
    let script = read("deploy/image/build")?;
    ensure!(script.contains(&format!("tag=${{tag:-{name}:$version}}")), "{name}");
    Ok(())
}
