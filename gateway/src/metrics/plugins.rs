//! What is counted of plugins, and what they count themselves.
//!
//! The host of plugins knows nothing of this text, nor this of the host: between them stand plain rows.

use std::fmt::Write;

use super::families as family;
use super::render::Text;

/// One plugin.
#[derive(Clone, Debug, Default)]
pub struct PluginRow {
    /// Its name.
    pub name: String,
    /// The version that is in force, when one is.
    pub version: Option<String>,
    /// The version that is on trial, and how.
    pub trial: Option<(String, &'static str)>,
    /// How attempts to bring another version into force ended.
    pub swaps: Vec<(&'static str, u64)>,
    /// How often each fault has happened.
    pub faults: Vec<(&'static str, u64)>,
    /// Log lines that were too many.
    pub lines_dropped: u64,
    /// How often a series of its own was one too many.
    pub series_refused: u64,
    /// Its own metrics.
    pub samples: Vec<Sample>,
}

/// A series that a plugin keeps.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it measures.
    pub name: String,
    /// A label and its value.
    pub label: Option<(String, String)>,
    /// Its value.
    pub value: SampleValue,
}

/// The value of a plugin's series.
#[derive(Clone, Debug)]
pub enum SampleValue {
    /// Only grows.
    Counter(f64),
    /// Goes up and down.
    Gauge(f64),
    /// Upper bounds of buckets with how many lie in each, how many lie above, and the sum of all.
    Histogram(Vec<(f64, u64)>, u64, f64),
}

pub(super) fn render(text: &mut Text, plugins: &[PluginRow]) {
    text.family(&family::PLUGIN_INFO);
    for plugin in plugins {
        if let Some(version) = &plugin.version {
            text.line(family::PLUGIN_INFO.name, &[("plugin", &plugin.name), ("version", version)], 1);
        }
    }
    text.family(&family::PLUGIN_TRIAL);
    for plugin in plugins {
        if let Some((version, stage)) = &plugin.trial {
            let labels = [("plugin", &*plugin.name), ("version", version), ("stage", stage)];
            text.line(family::PLUGIN_TRIAL.name, &labels, 1);
        }
    }
    text.family(&family::PLUGIN_SWAPS);
    for plugin in plugins {
        for (result, count) in &plugin.swaps {
            text.line(family::PLUGIN_SWAPS.name, &[("plugin", &plugin.name), ("result", result)], *count);
        }
    }
    text.family(&family::PLUGIN_FAULTS);
    for plugin in plugins {
        for (fault, count) in plugin.faults.iter().filter(|(_, count)| *count > 0) {
            text.line(family::PLUGIN_FAULTS.name, &[("plugin", &plugin.name), ("fault", fault)], *count);
        }
    }
    text.family(&family::PLUGIN_LINES);
    for plugin in plugins {
        text.line(family::PLUGIN_LINES.name, &[("plugin", &plugin.name)], plugin.lines_dropped);
    }
    text.family(&family::PLUGIN_SERIES);
    for plugin in plugins {
        text.line(family::PLUGIN_SERIES.name, &[("plugin", &plugin.name)], plugin.series_refused);
    }
    plugins.iter().for_each(|plugin| own(text, plugin));
}

/// What a plugin counts itself, under its name.
fn own(text: &mut Text, plugin: &PluginRow) {
    let prefix: String = plugin.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut told = Vec::new();
    for sample in &plugin.samples {
        let name = format!("gatewright_plugin_{prefix}_{}", sample.name);
        if !told.contains(&&sample.name) {
            told.push(&sample.name);
            let kind = match sample.value {
                SampleValue::Counter(_) => "counter",
                SampleValue::Gauge(_) => "gauge",
                SampleValue::Histogram(..) => "histogram",
            };
            let _ = writeln!(text.out, "# TYPE {name} {kind}");
        }
        let label = sample.label.as_ref().map(|(label, value)| (label.as_str(), value.as_str()));
        let labels: Vec<(&str, &str)> = label.into_iter().collect();
        match &sample.value {
            SampleValue::Counter(value) | SampleValue::Gauge(value) => text.number(&name, &labels, None, *value),
            SampleValue::Histogram(buckets, above, sum) => {
                let mut count = 0;
                let bounds = buckets.iter().map(|(bound, here)| (bound.to_string(), *here));
                for (bound, here) in bounds.chain([("+Inf".to_owned(), *above)]) {
                    count += here;
                    text.number(&format!("{name}_bucket"), &labels, Some(&bound), count as f64);
                }
                text.number(&format!("{name}_sum"), &labels, None, *sum);
                text.number(&format!("{name}_count"), &labels, None, count as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_a_plugin_stand_under_its_name() {
        let sample = |name: &str, label: Option<(&str, &str)>, value| Sample {
            name: name.into(),
            label: label.map(|(label, value)| (label.into(), value.into())),
            value,
        };
        let row = PluginRow {
            name: "my-plugin".into(),
            version: Some("abc".into()),
            trial: Some(("def".into(), "canary")),
            swaps: vec![("done", 4), ("refused", 0)],
            faults: vec![("trap", 2), ("deadline", 0)],
            lines_dropped: 3,
            series_refused: 4,
            samples: vec![
                sample("hits", Some(("who", "a\"b")), SampleValue::Counter(2.5)),
                sample("hits", Some(("who", "c")), SampleValue::Counter(1.0)),
                sample("size", None, SampleValue::Histogram(vec![(1.0, 2), (10.0, 1)], 4, 99.5)),
            ],
        };
        let mut text = Text { out: String::new() };
        render(&mut text, &[row]);
        for line in [
            "gatewright_plugin_info{plugin=\"my-plugin\",version=\"abc\"} 1",
            "gatewright_plugin_trial{plugin=\"my-plugin\",version=\"def\",stage=\"canary\"} 1",
            "gatewright_plugin_swaps_total{plugin=\"my-plugin\",result=\"done\"} 4",
            "gatewright_plugin_faults_total{plugin=\"my-plugin\",fault=\"trap\"} 2",
            "gatewright_plugin_log_lines_dropped_total{plugin=\"my-plugin\"} 3",
            "gatewright_plugin_series_refused_total{plugin=\"my-plugin\"} 4",
            "# TYPE gatewright_plugin_my_plugin_hits counter",
            "gatewright_plugin_my_plugin_hits{who=\"a\\\"b\"} 2.5",
            "gatewright_plugin_my_plugin_size_bucket{le=\"10\"} 3",
            "gatewright_plugin_my_plugin_size_bucket{le=\"+Inf\"} 7",
            "gatewright_plugin_my_plugin_size_sum 99.5",
        ] {
            assert!(text.out.lines().any(|found| found == line), "{line} is not in\n{}", text.out);
        }
        assert_eq!(text.out.matches("# TYPE gatewright_plugin_my_plugin_hits").count(), 1);
        assert!(!text.out.contains("deadline"));
    }
}
