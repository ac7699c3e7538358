use super::*;
use crate::config;

#[test]
fn budgets_outlive_a_reload() {
    let pool = |hedge: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[pool.a]\nendpoints = [\"a:80\"]\nhedge = {{ {hedge} }}\nretry = {{ \
             budget_least = 1 }}\n"
        );
        config::parse(&text, std::path::Path::new("g.toml")).unwrap().pools.remove(0)
    };
    let before = PoolState::new(pool("after = \"5ms\""), None, Arc::default(), None);
    let budget = before.model.retry.budget;
    let (_again, hedging) = (before.again(budget).unwrap(), before.hedging.as_ref().unwrap());
    assert!(hedging.may() && !hedging.may());
    let after = PoolState::new(pool("after = \"9ms\""), None, Arc::default(), Some(&before));
    assert!(after.again(budget).is_none() && !after.hedging.as_ref().unwrap().may());
    assert_eq!(after.hedging.as_ref().unwrap().begin(), Some(Duration::from_millis(9)));
}

#[test]
fn candidates_are_told_what_is_said_of_endpoints() {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[pool.a]\nendpoints = [\"a:80\", { address = \"b:80\", weight = 3, \
                priority = 2, zone = \"west\", metadata = { rack = \"7\" } }]\n";
    let mut config = config::parse(text, std::path::Path::new("g.toml")).unwrap();
    let state = PoolState::new(config.pools.remove(0), None, Arc::default(), None);
    let [plain, full] = &state.candidates[..] else { panic!("{:?}", state.candidates) };
    assert_eq!((plain.weight, plain.priority, &*plain.zone, plain.metadata.len()), (1, 0, "", 0));
    assert_eq!((&*full.endpoint.address, full.weight, full.priority, &*full.zone), ("b:80", 3, 2, "west"));
    assert_eq!(full.metadata, [("rack".to_owned(), "7".to_owned())]);
}
