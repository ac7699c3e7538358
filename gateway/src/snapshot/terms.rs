//! What a configuration grants a plugin.

use crate::config::model;
use crate::plugin::{Budget, Rollout};

/// Its times and sizes.
pub fn budget(plugin: &model::Plugin) -> Budget {
    Budget { decision: plugin.deadline, configure: plugin.configure_time, memory: plugin.memory_size }
}

/// How a new version of it comes into force.
pub fn rollout(plugin: &model::Plugin) -> Rollout {
    Rollout { shadow: plugin.shadow, canary: plugin.canary.map(|canary| (canary.share, canary.time)) }
}
