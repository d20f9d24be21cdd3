//! The Helm chart, by both helms that people run.

use castoff_tests::lab::helm::{Helm, Tools};

#[test]
fn helm_is_there() -> anyhow::Result<()> {
    let tools = Tools::fetched()?;
    for helm in Helm::ALL {
        let out = tools.helm(helm).args(["version", "--short"]).output()?;
        println!("{}", String::from_utf8_lossy(&out.stdout));
        anyhow::ensure!(out.status.success(), "{out:?}");
    }
    let out = tools.kubectl().args(["version", "--client"]).output()?;
    println!("{}", String::from_utf8_lossy(&out.stdout));
    anyhow::ensure!(out.status.success(), "{out:?}");
    Ok(())
}
