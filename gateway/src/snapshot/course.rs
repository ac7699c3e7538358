//! Another course for one plugin, and nothing else.
//!
//! In: a snapshot, and what is to become of one of its plugins. Out: the next snapshot, which shares with it all but that plugin
//! and the pools that it balances; so that workers go on with their connections, and a swap costs what the plugin costs.

use std::sync::Arc;

use super::plugins::{self, Course};
use super::{CompiledPool, Deployed, Given, Snapshot};
use crate::config::Problem;
use crate::plugin::House;

impl Snapshot {
    /// The same with another course for a plugin. No file is read: whatever has become of them is no matter of a plugin's.
    pub fn with_course(&self, course: &Course, house: &House) -> Result<Snapshot, Vec<Problem>> {
        let config = &self.config;
        let mut deployed: Vec<Option<Deployed>> = self.plugins.iter().cloned().map(Some).collect();
        let changed = config.plugins.iter().position(|plugin| plugin.name == course.plugin);
        if let Some((index, slot)) = changed.and_then(|index| Some((index, deployed.get_mut(index)?))) {
            *slot = Some(plugins::deploy(index, config, (Some(self), Some(&course.step)), house, &Given::of(self))?);
        }
        let mut pools = self.pools.clone();
        let mut problems = Vec::new();
        for CompiledPool { state, .. } in &mut pools {
            if state.model.balancer.is_none() || state.model.balancer != changed {
                continue;
            }
            match plugins::balancer(&state.model, config, &deployed, &state.candidates, Some(&**state), house) {
                Ok((crew, trying)) => *state = Arc::new(state.with_crew(crew, trying)),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Snapshot {
            number: self.number + 1,
            config: config.clone(),
            limits: self.limits.clone(),
            table: self.table.clone(),
            plugins: Arc::new(deployed.into_iter().flatten().collect()),
            routes: self.routes.clone(),
            pools,
            identity_fields: self.identity_fields.clone(),
            access_log: self.access_log.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::metrics::Metrics;
    use crate::plugin::Reason;
    use crate::snapshot::Step;

    #[test]
    fn only_the_plugin_and_its_pools_are_made_anew() {
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[plugin.x]\nsource = \"builtin:p2c\"\n[plugin.y]\nsource = \
                    \"builtin:p2c\"\n[pool.a]\nendpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nbalance = \"x\"\n[pool.b]\nendpoints \
                    = [\"127.0.0.1:1\"]\nbalance = \"y\"\n[[route]]\npool = \"a\"\n";
        let config = config::parse(text, Path::new("g.toml")).unwrap();
        let house = House::new(1, None, |_| {}).unwrap();
        let given = Given::make(&config, &house, &crate::fetch::Fetched::default());
        let first = Snapshot::compile(config, None, &Metrics::new(1), &house, &given).unwrap();
        let live = &first.plugin("x").unwrap().version;
        let step = |version| Step::Take(version, Reason::Pushed);
        let course = Course { plugin: "x".to_owned(), step: step(Arc::new(live.anew(live.budget))) };
        let second = first.with_course(&course, &house).unwrap();
        assert_eq!(second.number, first.number + 1);
        assert!(Arc::ptr_eq(&second.config, &first.config) && Arc::ptr_eq(&second.table, &first.table));
        assert!(Arc::ptr_eq(&second.routes, &first.routes));
        let versions = |name: &str| [&first, &second].map(|snapshot| &snapshot.plugin(name).unwrap().version);
        let same = |[one, other]: [&Arc<crate::plugin::Version>; 2]| Arc::ptr_eq(one, other);
        assert!(!same(versions("x")) && same(versions("y")));
        let [(a, old_a), (b, old_b)] = [0, 1].map(|index| (&second.pools[index].state, &first.pools[index].state));
        assert!(!Arc::ptr_eq(a, old_a) && Arc::ptr_eq(b, old_b));
        assert!(Arc::ptr_eq(&a.candidates, &old_a.candidates) && Arc::ptr_eq(&a.model, &old_a.model));
        let crew = a.crew.as_ref().unwrap();
        assert!(Arc::ptr_eq(&crew.version, versions("x")[1]) && crew.serves(&a.candidates));
    }
}
