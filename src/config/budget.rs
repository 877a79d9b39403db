//! A budget as the config says it: how many machines may be emptied at once, of which pool or rack, and when.

use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, Loaded, Millis};
use crate::autoscaler::consolidation::Budget;
use crate::model::cluster::ClusterSpec;

/// `[[budget]]`: how many machines may be emptied at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetEntry {
    #[serde(default)]
    pool: Option<Spanned<String>>,
    #[serde(default)]
    rack: Option<String>,
    most: Spanned<u32>,
    #[serde(default)]
    cron: Option<Spanned<String>>,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    duration: Option<Millis>,
}

impl Loaded {
    pub(super) fn budget(&self, entry: &BudgetEntry, spec: &ClusterSpec) -> Result<Budget, ConfigError> {
        if let Some(pool) = entry.pool.as_ref().filter(|pool| !spec.pools.iter().any(|p| &p.name == pool.get_ref())) {
            let message = format!("[[budget]]: the document has no worker pool `{}`", pool.get_ref());
            return Err(self.error(pool.span(), message));
        }
        let budget = Budget {
            pool: entry.pool.as_ref().map(|pool| pool.get_ref().clone()),
            rack: entry.rack.clone(),
            most: *entry.most.get_ref(),
            cron: entry.cron.as_ref().map(|cron| cron.get_ref().clone()),
            timezone: entry.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
            duration_ms: entry.duration.map_or(0, |duration| duration.0),
        };
        if entry.cron.is_none() && (entry.duration.is_some() || entry.timezone.is_some()) {
            let message = "[[budget]]: `duration` and `timezone` are of a window, which needs a `cron`".to_owned();
            return Err(self.error(entry.most.span(), message));
        }
        let span = entry.cron.as_ref().map_or_else(|| entry.most.span(), Spanned::span);
        budget.window().transpose().map_err(|e| self.error(span, format!("[[budget]]: {e}")))?;
        Ok(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_machines_are_emptied_and_how_many_at_once() {
        let text = "[autoscaler]\nmin_on = \"10m\"\nconsolidate_after = \"2m\"\n[[pool]]\nname = \"wn\"\nconsolidate = true\n[[budget]]\npool = \"wn\"\nmost = 0\ncron = \"0 8 * * 1-5\"\nduration = \"10h\"\n";
        let policy = Loaded::parse("m.toml", text).unwrap().policy(&super::super::tests::spec()).unwrap();
        let consolidation = &policy.consolidation;
        assert_eq!((policy.min_on_ms, consolidation.patience_ms), (600_000, 120_000));
        assert!(consolidation.pools.contains("wn") && consolidation.budgets[0].window().unwrap().is_ok());
        assert!(
            Loaded::default().policy(&super::super::tests::spec()).unwrap().consolidation.pools.is_empty(),
            "nobody is asked to"
        );
        for (from, to, line) in
            [("\"0 8", "\"0 25", 10), ("pool = \"wn\"\nmost", "pool = \"x\"\nmost", 8), ("cron =", "#", 9)]
        {
            let error = Loaded::parse("m.toml", &text.replace(from, to))
                .unwrap()
                .policy(&super::super::tests::spec())
                .unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
    }
}
