//! A notification: the rule by which a bucket tells a target of each new object. Rules of other targets, and all that
//! is not understood here, stay as they are, byte for byte.

use reqwest::Method;
use roxmltree::{Document, Node};

use super::request::{NAMESPACE, Request};
use super::{S3Error, Store};

/// "Tell `arn` of each new object whose key begins and ends like this."
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Its name in the bucket.
    pub id: String,
    /// Whom to tell, `arn:minio:sqs:us-east-1:marea:webhook`.
    pub arn: String,
    /// How keys begin.
    pub prefix: String,
    /// How keys end.
    pub suffix: String,
}

impl Store {
    /// The rules of a bucket.
    pub async fn rules(&self, bucket: &str) -> Result<Vec<Rule>, S3Error> {
        let (request, text) = self.notification(bucket).await?;
        read(&text).map_err(|reason| S3Error::Strange { what: request.what(), reason })
    }

    /// Makes `rules` the rules of the target `arn`; those of other targets stay.
    pub async fn set_rules(&self, bucket: &str, arn: &str, rules: &[Rule]) -> Result<(), S3Error> {
        let (mut request, text) = self.notification(bucket).await?;
        let merged = merge(&text, arn, rules).map_err(|reason| S3Error::Strange { what: request.what(), reason })?;
        if let Some(merged) = merged {
            request.method = Method::PUT;
            request.body = merged.into();
            self.send(&request).await?;
        }
        Ok(())
    }

    async fn notification(&self, bucket: &str) -> Result<(Request, String), S3Error> {
        let mut request = Request::new(Method::GET, bucket, None);
        request.query.insert("notification", String::new());
        let text = self.text(&request).await?;
        Ok((request, text))
    }
}

fn read(text: &str) -> Result<Vec<Rule>, String> {
    let document = Document::parse(text).map_err(|e| e.to_string())?;
    Ok(document.root_element().children().filter(|n| is(*n, "QueueConfiguration")).map(rule).collect())
}

/// The new configuration, or nothing when it is what there is.
fn merge(text: &str, arn: &str, rules: &[Rule]) -> Result<Option<String>, String> {
    let document = Document::parse(text).map_err(|e| e.to_string())?;
    let mut kept = String::new();
    let mut have = Vec::new();
    for node in document.root_element().children().filter(Node::is_element) {
        if is(node, "QueueConfiguration") && same_target(&rule(node).arn, arn) {
            have.push(Rule { arn: arn.to_owned(), ..rule(node) });
        } else {
            kept.push_str(text.get(node.range()).unwrap_or_default());
        }
    }
    let mut want = rules.to_vec();
    want.sort();
    have.sort();
    if want == have {
        return Ok(None);
    }
    let ours: String = want.iter().map(write).collect();
    Ok(Some(format!("<NotificationConfiguration xmlns=\"{NAMESPACE}\">{kept}{ours}</NotificationConfiguration>")))
}

/// A MinIO that was given no region leaves it out of what it answers.
fn same_target(a: &str, b: &str) -> bool {
    let parts = |arn: &str| arn.splitn(5, ':').map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (parts(a), parts(b));
    a.len() == b.len()
        && a.iter().zip(&b).enumerate().all(|(n, (a, b))| a == b || (n == 3 && (a.is_empty() || b.is_empty())))
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

fn child<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    node.children().find(|n| is(*n, name)).and_then(|n| n.text()).unwrap_or_default()
}

fn rule(node: Node<'_, '_>) -> Rule {
    let filter = |name: &str| {
        let rules = node.descendants().filter(|n| is(*n, "FilterRule"));
        let found = rules.into_iter().find(|n| child(*n, "Name").eq_ignore_ascii_case(name));
        found.map_or_else(String::new, |n| child(n, "Value").to_owned())
    };
    Rule {
        id: child(node, "Id").to_owned(),
        arn: child(node, "Queue").to_owned(),
        prefix: filter("prefix"),
        suffix: filter("suffix"),
    }
}

fn write(rule: &Rule) -> String {
    let filter = |name: &str, value: &str| {
        if value.is_empty() {
            return String::new();
        }
        format!("<FilterRule><Name>{name}</Name><Value>{}</Value></FilterRule>", escape(value))
    };
    let filters = filter("prefix", &rule.prefix) + &filter("suffix", &rule.suffix);
    let filters = if filters.is_empty() { filters } else { format!("<Filter><S3Key>{filters}</S3Key></Filter>") };
    format!(
        "<QueueConfiguration><Id>{}</Id><Queue>{}</Queue><Event>s3:ObjectCreated:*</Event>{filters}</QueueConfiguration>",
        escape(&rule.id),
        escape(&rule.arn)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:minio:sqs:us-east-1:marea:webhook";
    const OTHERS: &str = "<QueueConfiguration><Id>x</Id><Queue>arn:minio:sqs:us-east-1:other:webhook</Queue><Event>s3:ObjectRemoved:*</Event></QueueConfiguration><TopicConfiguration><Odd a=\"1\"/></TopicConfiguration>";

    fn one(prefix: &str, suffix: &str) -> Rule {
        Rule { id: format!("marea-{prefix}"), arn: ARN.into(), prefix: prefix.into(), suffix: suffix.into() }
    }

    #[test]
    fn what_is_written_is_read_again_and_others_stay() {
        let there = format!("<NotificationConfiguration>{OTHERS}</NotificationConfiguration>");
        let rules = [one("in/", ""), one("a<b&c/", ".jpg")];
        let merged = merge(&there, ARN, &rules).unwrap().unwrap();
        assert!(merged.contains(OTHERS), "{merged}");
        let read_again = read(&merged).unwrap();
        assert!(rules.iter().all(|r| read_again.contains(r)), "{read_again:?}");
        assert_eq!(read_again.len(), 3);
        // The same again changes nothing; none takes ours out and leaves theirs.
        assert_eq!(merge(&merged, ARN, &rules).unwrap(), None);
        let without = merge(&merged, ARN, &[]).unwrap().unwrap();
        assert!(without.contains(OTHERS) && !without.contains(ARN), "{without}");
    }

    #[test]
    fn a_region_that_is_left_out_is_no_difference() {
        let told = "arn:minio:sqs::marea:webhook";
        assert!(same_target(told, ARN) && same_target(ARN, ARN));
        assert!(!same_target("arn:minio:sqs::other:webhook", ARN));
        assert!(!same_target("arn:minio:sqs:eu:marea:webhook", ARN));
    }

    #[test]
    fn an_empty_configuration_is_one() {
        assert_eq!(read("<NotificationConfiguration/>").unwrap(), []);
        assert_eq!(merge("<NotificationConfiguration/>", ARN, &[]).unwrap(), None);
        assert!(read("nonsense").is_err());
    }
}
