//! Members from ZooKeeper: the children of a node, each with what it says or, where it says nothing, with its name.
//!
//! In: the children as they are, and a word when they, or what they say, have changed. Out: members, by child. When the connection
//! breaks a new session begins with the next server, everything is read again, and watched anew. Limits: [`ENTRY`] for what a child
//! says, [`AHEAD`] questions before the first answer.

mod client;
mod connection;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::BATCH;
use super::backoff::Backoff;
use super::members;
use super::search::Search;
use crate::config::model::{Member, Registry};

use client::Client;
pub(super) use client::Ephemeral;
use connection::{Answer, Connection};
use wire::{Event, Kind, Question, Refusal};

/// How long a session lasts without a word.
const SESSION: Duration = Duration::from_secs(10);
/// What one child may say.
const ENTRY: usize = 64 << 10;
/// Questions that are sent before the first of them is answered.
const AHEAD: usize = 64;
/// How often a node is looked at that goes again meanwhile.
const ATTEMPTS: usize = 5;

/// A child.
struct Child {
    member: Option<Member>,
    /// Whether we are told when it says something else.
    watched: bool,
}

/// What was read last, and what has to be read again.
struct View<'a> {
    search: &'a Search,
    /// Of the node whose children they are.
    path: &'a str,
    known: BTreeMap<String, Child>,
    list_changed: bool,
    changed: BTreeSet<String>,
}

pub(super) async fn look(search: &Search, settings: &Registry) {
    let mut backoff = Backoff::default();
    let mut client = Client::new(settings, SESSION);
    let path = &*settings.prefix;
    let mut view = View { search, path, known: BTreeMap::new(), list_changed: true, changed: BTreeSet::new() };
    loop {
        if let Err(why) = session(&mut client, &mut view, &mut backoff).await {
            search.failed(&why);
        }
        client.next();
        backoff.pause().await;
    }
}

/// Reads everything and follows the changes until the connection breaks.
async fn session(client: &mut Client, view: &mut View<'_>, backoff: &mut Backoff) -> Result<(), String> {
    // Nothing of ours goes with a session.
    client.forget();
    let mut connection = client.open().await?;
    view.begin();
    // A server that lags behind the others would tell of members that have gone.
    let synced = connection.ask_and_wait(&Question::Sync(view.path)).await?;
    synced.map_err(|refusal| refusal.to_string())?;
    loop {
        view.read(&mut connection).await?;
        let told = Instant::now();
        backoff.reset();
        view.note(connection.event().await?);
        // Of many changes at once the list is made once.
        while let Ok(event) = tokio::time::timeout_at(told + BATCH, connection.event()).await {
            view.note(event?);
        }
    }
}

impl View<'_> {
    /// All that is known is to be read again.
    fn begin(&mut self) {
        self.list_changed = true;
        self.changed.clear();
        self.known.values_mut().for_each(|child| child.watched = false);
    }

    /// What changed is to be read again.
    fn note(&mut self, event: Event) {
        if event.path == self.path {
            self.list_changed |= event.kind != Kind::Other;
            return;
        }
        let child = event.path.strip_prefix(self.path).and_then(|rest| rest.strip_prefix('/'));
        let Some(child) = child.filter(|child| self.known.contains_key(*child)) else { return };
        match event.kind {
            // There may be another of its name.
            Kind::Deleted => {
                self.known.remove(child);
                self.list_changed = true;
            }
            Kind::Data | Kind::Created | Kind::Children => drop(self.changed.insert(child.to_owned())),
            Kind::Other => {}
        }
    }

    /// Reads what has changed, and says which members there are.
    async fn read(&mut self, connection: &mut Connection) -> Result<(), String> {
        let mut wanted = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.list_changed) {
            let names = self.list(connection).await?;
            let most = self.search.most();
            if names.len() > most {
                return Err(format!("there are {} endpoints, more than {most}", names.len()));
            }
            self.known.retain(|name, _| names.contains(name));
            wanted.retain(|name| names.contains(name));
            let unwatched = |name: &String| !self.known.get(name).is_some_and(|child| child.watched);
            wanted.extend(names.into_iter().filter(unwatched));
        }
        let wanted: Vec<String> = wanted.into_iter().collect();
        for some in wanted.chunks(AHEAD) {
            let path = |name: &String| format!("{}/{name}", self.path);
            let turns: Vec<i32> = some.iter().map(|name| connection.ask(&Question::Data(&path(name)))).collect();
            for (name, turn) in some.iter().zip(turns) {
                let answer = connection.answer(turn).await?;
                self.take(name, answer);
            }
        }
        self.search.found(self.known.values().filter_map(|child| child.member.clone()).collect());
        Ok(())
    }

    /// The names of the children; none where there is no such node.
    async fn list(&self, connection: &mut Connection) -> Result<BTreeSet<String>, String> {
        let refused = |refusal: Refusal| format!("node {:?}: {refusal}", self.path);
        for _ in 0..ATTEMPTS {
            match connection.ask_and_wait(&Question::Children(self.path)).await? {
                Ok(body) => {
                    let names = wire::children(&body).map_err(|malformed| malformed.to_string())?;
                    return Ok(names.into_iter().collect());
                }
                Err(Refusal::NO_NODE) => {}
                Err(refusal) => return Err(refused(refusal)),
            }
            // We are told when there is one; there may be one now.
            match connection.ask_and_wait(&Question::Exists(self.path)).await? {
                Ok(_) => {}
                Err(Refusal::NO_NODE) => return Ok(BTreeSet::new()),
                Err(refusal) => return Err(refused(refusal)),
            }
        }
        Err(format!("node {:?}: it comes and goes", self.path))
    }

    /// Takes in what a child says; one that cannot be read stays what it was.
    fn take(&mut self, name: &str, answer: Answer) {
        let (said, watched) = match &answer {
            Ok(body) => (wire::data(body).map_err(|malformed| malformed.to_string()), true),
            // We are told of that by its parent.
            Err(Refusal::NO_NODE) => {
                self.known.remove(name);
                return;
            }
            // Read again with the next list.
            Err(refusal) => (Err(refusal.to_string()), false),
        };
        let member = said.and_then(|said| match said.len() {
            0 => members::of_entry(name.as_bytes()),
            1..=ENTRY => members::of_entry(said),
            _ => Err(format!("it is larger than {} KiB", ENTRY >> 10)),
        });
        if let Err(why) = &member {
            self.search.passed_over(format_args!("node {:?}: {why}", format!("{}/{name}", self.path)));
        }
        let before = self.known.remove(name).and_then(|child| child.member);
        self.known.insert(name.to_owned(), Child { member: member.ok().or(before), watched });
    }
}
