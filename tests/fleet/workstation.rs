//! A user's kubeconfig: missing, invalid, in several files, with a wrong context; and wrong arguments.

use anyhow::Result;
use castoff_tests::fake::api::FakeApi;

use super::{Person, finish, kubeconfig};

#[tokio::test]
async fn an_unusable_kubeconfig_is_a_usage_error() -> Result<()> {
    let person = Person::with("")?;
    let fifo = person.file("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)?;
    let no_current = person.file("no-current");
    std::fs::write(
        &no_current,
        kubeconfig("http://127.0.0.1:1").replace("current-context: here\n", ""),
    )?;
    let broken = person.file("broken");
    std::fs::write(&broken, "{ this is : no YAML")?;
    let missing = person.file("missing");
    let path = |file: &std::path::Path| file.display().to_string();
    for (arguments, words) in [
        (vec!["--kubeconfig".to_owned(), path(&missing)], "No such file"),
        (vec!["--kubeconfig".to_owned(), path(&fifo)], "it is not a file"),
        (vec!["--kubeconfig".to_owned(), path(&broken)], "broken"),
        (
            vec!["--kubeconfig".to_owned(), path(&no_current)],
            "choose one with --context: here, there",
        ),
        (vec![], "current context"),
        (vec!["--kubeconfig".to_owned(), String::new()], "is empty"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = person.run(&arguments).await?;
        assert_eq!(ran.code, Some(64), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "");
    }
    let bare = Person {
        home: tempfile::tempdir()?,
    };
    let ran = bare.run(&[]).await?;
    assert_eq!(ran.code, Some(64));
    assert!(ran.err.contains("give --kubeconfig, set KUBECONFIG"), "{}", ran.err);
    Ok(())
}

#[tokio::test]
async fn a_missing_context_lists_the_existing_ones() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().fleet.add("one");
    let person = Person::of(&api)?;
    let ran = person.run(&["--context", "prod\u{1b}[0m"]).await?;
    assert_eq!(ran.code, Some(64));
    assert!(
        ran.err.contains("it has here, there") && !ran.err.contains('\u{1b}'),
        "{}",
        ran.err
    );
    assert_eq!(person.run(&["--context", "here"]).await?.code, Some(0));
    assert_eq!(person.run(&["--context", "there"]).await?.code, Some(2));
    assert!(
        api.script()
            .seen
            .iter()
            .all(|seen| seen.headers.get("authorization").is_some_and(|v| v == "Bearer secret"))
    );
    Ok(())
}

#[tokio::test]
async fn several_files_are_merged_and_a_missing_one_is_ignored() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().fleet.add("one");
    let person = Person::of(&api)?;
    let whole = person.file(".kube/config");
    let first = person.file("first");
    std::fs::write(&first, "apiVersion: v1\nkind: Config\ncurrent-context: here\n")?;
    let list = format!(
        "{}:{}::{}",
        first.display(),
        person.file("missing").display(),
        whole.display()
    );
    let mut command = person.command(&["-o", "json"])?;
    command.env("KUBECONFIG", &list);
    assert_eq!(finish(command).await?.code, Some(0));
    let mut command = person.command(&[])?;
    command.env("KUBECONFIG", person.file("missing"));
    let ran = finish(command).await?;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn wrong_arguments_are_reported_together() -> Result<()> {
    let person = Person::with("")?;
    let ran = person
        .run(&[
            "-n",
            "../kube-system",
            "--port",
            "ftp:1",
            "--timeout",
            "soon",
            "--stale-after",
            "0s",
            "--watch",
            "-o",
            "html",
        ])
        .await?;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    for words in [
        "5 mistakes",
        "--namespace",
        "--port \"ftp:1\"",
        "--timeout",
        "--stale-after",
        "--watch",
    ] {
        assert!(ran.err.contains(words), "{words} in {}", ran.err);
    }
    let ran = person.run(&["--concurrency", "0"]).await?;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    Ok(())
}
