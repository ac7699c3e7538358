//! The scenarios that come with the gateway, as files that one can read, copy and change.

use super::scenario::Scenario;

macro_rules! scenarios {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("scenarios/", $name, ".toml")))),*]
    };
}

/// Their names and texts.
pub const KNOWN: &[(&str, &str)] = scenarios![
    "equal" "slow" "failing" "flapping" "sizes" "burst" "cold-start" "few" "many" "gateways"
];

/// The scenario of this name.
pub fn known(name: &str) -> Option<Scenario> {
    let (name, text) = KNOWN.iter().find(|(known, _)| *known == name)?;
    // They are tested to be right.
    let scenario = Scenario::parse(text).ok()?;
    Some(Scenario { name: (*name).to_owned(), ..scenario })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_can_be_read_and_say_what_they_are() {
        for (name, text) in KNOWN {
            Scenario::parse(text).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            let scenario = known(name).unwrap();
            assert!(!scenario.about.is_empty(), "{name}");
            assert!((3..=1000).contains(&scenario.endpoints()), "{name}");
        }
        assert!(known("nothing").is_none());
    }
}
