//! `marea functions apply|list|run|logs|delete|events` from outside, against a gateway.

use super::*;

const FDL: &str = "\
functions:
  oscar:
  - lab:
      name: cow
      memory: 256Mi
      cpu: 0.5
      image: marea.local/busybox:1
      script: cow.sh
      environment:
        variables: {TIMES: 3}
  - lab:
      name: hen
      image: marea.local/busybox:1
      script: cow.sh
  aws:
  - lambda: {name: far-away, init_script: cow.sh}
storage_providers:
  s3:
    far: {access_key: a, secret_key: b, region: us-east-1}
";

struct Person<'a>(&'a Gateway);

impl Person<'_> {
    async fn says(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_marea"));
        command.arg("functions").args(args).current_dir(self.0.folder.path()).stdin(Stdio::null());
        command.env("MAREA_FUNCTIONS_ENDPOINT", self.0.url()).env("MAREA_FUNCTIONS_PASSWORD", PASSWORD);
        let out = command.output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.code(), text(out.stdout), text(out.stderr))
    }

    async fn does(&self, args: &[&str]) -> String {
        let (code, out, err) = self.says(args).await;
        assert_eq!(code, Some(0), "{args:?}: {err}");
        out
    }

    fn writes(&self, name: &str, text: &str) {
        std::fs::write(self.0.folder.path().join(name), text).unwrap();
    }
}

#[tokio::test]
async fn a_file_is_applied_listed_run_and_deleted() {
    let play = |job: &Value| match crate::fake_namespace::event(job).as_str() {
        "bad" => Play::Ends(Duration::ZERO, 66, "gone\n".to_owned()),
        _ => Play::Ends(Duration::ZERO, 0, "hi\nmarea-result-text:bW9v\n".to_owned()),
    };
    let gateway = Gateway::start(play, "").await;
    let person = Person(&gateway);
    person.writes("f.yaml", FDL);
    person.writes("cow.sh", "#!/bin/sh\necho moo\n");
    let (code, out, err) = person.says(&["apply", "f.yaml"]).await;
    assert_eq!(code, Some(0), "{err}");
    let url = gateway.url();
    assert_eq!(out, format!("cow on {url}: made\nhen on {url}: made\n"));
    assert_eq!(
        err,
        "warning: f.yaml:16:5: the AWS function far-away is skipped: it is for `scar`; nothing on premises runs it\n"
    );
    let service = gateway.get("/system/services/cow").await;
    assert_eq!((&service["script"], &service["cluster_id"]), (&json!("#!/bin/sh\necho moo\n"), &json!("lab")));
    assert_eq!(service["storage_providers"]["s3"]["far"]["access_key"], "a");
    assert_eq!(service["environment"]["variables"]["TIMES"], "3");
    assert!(person.does(&["apply", "f.yaml"]).await.contains("cow on"));
    assert_eq!(person.does(&["apply", "f.yaml"]).await.matches("is as the file says").count(), 2);
    person.writes("cow.sh", "#!/bin/sh\necho MOO\n");
    assert_eq!(person.does(&["apply", "f.yaml"]).await.matches("changed").count(), 2);
    assert_eq!(person.does(&["apply", "--check", "--cluster", "lab", "f.yaml"]).await.matches("right").count(), 2);

    let list = person.does(&["list"]).await;
    assert!(list.contains("cow") && list.contains("0.5") && list.contains("256Mi"), "{list}");
    assert_eq!(person.does(&["list", "--format", "json"]).await.matches("\"image\"").count(), 2);
    person.writes("in.txt", "good");
    assert_eq!(person.does(&["run", "cow", "--input", "in.txt", "--wait"]).await, "moo");
    let job = person.does(&["run", "cow", "--input", "in.txt"]).await;
    gateway.until_totals(json!({ "done": 2 })).await;
    assert!(person.does(&["logs", "cow"]).await.contains(job.trim()));
    assert!(person.does(&["logs", "cow", job.trim()]).await.starts_with("hi\n"));

    person.writes("in.txt", "bad");
    let job = person.does(&["run", "cow", "--input", "in.txt"]).await;
    gateway.until_totals(json!({ "done": 2, "dead": 1 })).await;
    let dead = person.does(&["events", "list"]).await;
    assert!(dead.contains("exit code 66: the object was gone") && dead.contains("in all: 1 dead, 2 done"), "{dead}");
    assert!(person.does(&["events", "show", job.trim()]).await.contains("\"body\": \"bad\""));
    assert_eq!(person.does(&["events", "replay", "--service", "cow"]).await, "1 events are tried again\n");
    gateway.until_totals(json!({ "done": 2, "dead": 1 })).await;
    assert_eq!(person.does(&["events", "purge", "--all"]).await, "1 events are thrown away\n");
    let (code, _, err) = person.says(&["events", "purge"]).await;
    assert!(code == Some(2) && err.contains("--all"), "{err}");

    assert_eq!(
        person.does(&["delete", "hen", "f.yaml"]).await,
        format!("hen on {url}: deleted\ncow on {url}: deleted\nhen on {url}: is not there\n")
    );
    assert_eq!(gateway.get("/system/services").await, json!([]));
}

#[tokio::test]
async fn a_wrong_file_is_told_with_its_lines_and_nothing_is_sent() {
    let gateway = Gateway::start(well, "").await;
    let person = Person(&gateway);
    person.writes("cow.sh", "echo moo\n");
    let table = [
        (
            "functions:\n  oscar:\n  - lab:\n      name: cow\n      image: i\n      script: none.sh\n",
            "error: f.yaml:6:15: cow: script: cannot read none.sh: No such file or directory",
        ),
        (
            "functions:\n  oscar:\n  - lab:\n      name: cow\n      image: i\n      script: cow.sh\n      memory: 256\n",
            "error: f.yaml:7:15: cow: memory: 256 has no unit: write \"256Mi\" or \"256Gi\"",
        ),
        (
            "functions:\n  oscar:\n  - lab:\n      name: cow\n      image: i\n      script: cow.sh\n      enable_gpu: maybe\n",
            "error: f.yaml:7:19: cow: enable_gpu: invalid type: string \"maybe\", expected a boolean",
        ),
        (
            "functions:\n  oscar:\n  - lab: {name: cow, image: i, script: cow.sh}\n  - lab: {name: cow, image: i, script: cow.sh}\n",
            "error: f.yaml:4:17: the name cow is used twice for the cluster lab, first on line 3",
        ),
        ("functions:\n  oscar:\n  - lab:\n      image: i\n", "a function needs a `name`"),
        ("services: []\n", "there is no `functions:`"),
        ("functions:\n  oscar: {lab: 1}\n", "error: f.yaml:2:10: "),
        ("functions: [\n", "error: f.yaml:"),
    ];
    for (text, words) in table {
        person.writes("f.yaml", text);
        let (code, out, err) = person.says(&["apply", "f.yaml"]).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{text}\n{err}");
        assert!(err.contains(words), "{text}\n  {err}\n  has not: {words}");
    }
    assert_eq!(gateway.get("/system/services").await, json!([]));
    person.writes("f.yaml", "functions:\n  oscar:\n  - lab: {name: cow, image: i, script: cow.sh}\n");
    let (code, _, err) = person.says(&["apply", "--endpoint", "http://127.0.0.1:1", "f.yaml"]).await;
    assert!(code == Some(1) && err.contains("does not answer; name another with --endpoint"), "{err}");
    let (code, _, err) = person.says(&["list", "--user", "nobody"]).await;
    assert!(code == Some(1) && err.contains("does not take the name \"nobody\""), "{err}");
}
