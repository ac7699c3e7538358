//! ZooKeeper's servers, of which one is asked after the other.
//!
//! In: what is wanted of the registry. Out: connections on which it is asked for, and nodes that stand as long as a session does. A
//! session that was begun goes on over the next connection, also with another server, unless that says that it is over.

use std::time::Duration;

use super::super::dial::{credentials, dial};
use super::ATTEMPTS;
use super::connection::Connection;
use super::wire::{Kind, Question, Refusal, Session, owner};
use crate::config::model::{Registry, RegistryServer};
use crate::tls::UpstreamTls;

/// Asks ZooKeeper.
pub(super) struct Client {
    settings: Registry,
    /// The server that is asked now.
    at: usize,
    /// How long a session lasts without a word.
    time: Duration,
    /// The one that was begun last.
    session: Option<Session>,
}

/// A node that goes with the session that made it.
pub(in super::super) struct Ephemeral {
    client: Client,
    path: String,
    data: Vec<u8>,
    connection: Option<Connection>,
    /// The session in which the node was ours, or was taken from somebody else.
    taken: Option<i64>,
}

impl Client {
    /// One that begins with any of the servers, so that they share the work.
    pub(super) fn new(settings: &Registry, time: Duration) -> Client {
        let at = fastrand::usize(..settings.servers.len().max(1));
        Client { settings: settings.clone(), at, time, session: None }
    }

    /// From now on the next server is asked.
    pub(super) fn next(&mut self) {
        self.at = self.at.wrapping_add(1);
    }

    /// A connection on which a session goes on, or begins.
    pub(super) async fn open(&mut self) -> Result<Connection, String> {
        let servers = &self.settings.servers;
        let server = servers.get(self.at % servers.len().max(1)).ok_or("there is no server to ask")?.clone();
        let connection = self.open_at(&server).await.map_err(|why| format!("{}: {why}", server.address))?;
        self.session = Some(connection.session.clone());
        Ok(connection)
    }

    async fn open_at(&mut self, server: &RegistryServer) -> Result<Connection, String> {
        let tls = server.tls.then(|| UpstreamTls::load_for_others(&self.settings.tls)).transpose();
        let tls = tls.map_err(|problem| problem.to_string())?;
        let mut connection = None;
        if let Some(session) = &self.session {
            let stream = dial(server, tls.as_ref()).await?;
            connection = Connection::begin(stream, self.time, Some(session)).await?;
        }
        let mut connection = match connection {
            Some(connection) => connection,
            None => {
                self.session = None;
                let stream = dial(server, tls.as_ref()).await?;
                Connection::begin(stream, self.time, None).await?.ok_or("it begins no session")?
            }
        };
        if let Some(file) = &self.settings.credentials {
            let (name, password) = credentials(file)?;
            connection.authenticate(&name, &password).await?;
        }
        Ok(connection)
    }

    /// The next connection begins a session of its own.
    pub(super) fn forget(&mut self) {
        self.session = None;
    }
}

impl Ephemeral {
    /// Nothing of it is known yet.
    pub(in super::super) fn new(settings: &Registry, time: Duration, path: String, data: Vec<u8>) -> Ephemeral {
        Ephemeral { client: Client::new(settings, time), path, data, connection: None, taken: None }
    }

    /// From now on the next server is asked.
    pub(in super::super) fn next(&mut self) {
        self.client.next();
        self.connection = None;
    }

    /// Makes the node, and the nodes above it where there are none. One that others have left behind is taken away first; but only
    /// once, so that two who think that it is theirs do not fight.
    pub(in super::super) async fn make(&mut self) -> Result<(), String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.open().await?,
        };
        let session = connection.session.id;
        let outcome = self.make_over(&mut connection, session).await;
        self.connection = Some(connection);
        outcome
    }

    async fn make_over(&mut self, connection: &mut Connection, session: i64) -> Result<(), String> {
        let owned = self.client.settings.credentials.is_some();
        let refused = |path: &str, refusal: Refusal| format!("node {path:?}: {refusal}");
        for _ in 0..ATTEMPTS {
            let create = Question::Create { path: &self.path, data: &self.data, ephemeral: true, owned };
            match connection.ask_and_wait(&create).await? {
                Ok(_) | Err(Refusal::NODE_EXISTS) => {}
                Err(Refusal::NO_NODE) => {
                    let ends = self.path.match_indices('/').skip(1).map(|(end, _)| end);
                    for above in ends.filter_map(|end| self.path.get(..end)) {
                        let create = Question::Create { path: above, data: b"", ephemeral: false, owned };
                        match connection.ask_and_wait(&create).await? {
                            Ok(_) | Err(Refusal::NODE_EXISTS) => {}
                            Err(refusal) => return Err(refused(above, refusal)),
                        }
                    }
                    continue;
                }
                Err(refusal) => return Err(refused(&self.path, refusal)),
            }
            // Looked at in any case, so that we are told when it goes.
            match connection.ask_and_wait(&Question::Exists(&self.path)).await? {
                Ok(stat) => {
                    let whose = owner(&stat).map_err(|malformed| malformed.to_string())?;
                    if whose == session {
                        self.taken = Some(session);
                        return Ok(());
                    }
                    if self.taken.replace(session) == Some(session) {
                        return Err(format!("node {:?}: somebody else says that it is theirs", self.path));
                    }
                    if let Err(refusal) = connection.ask_and_wait(&Question::Delete(&self.path)).await?
                        && refusal != Refusal::NO_NODE
                    {
                        return Err(refused(&self.path, refusal));
                    }
                }
                Err(Refusal::NO_NODE) => {}
                Err(refusal) => return Err(refused(&self.path, refusal)),
            }
        }
        Err(format!("node {:?}: it comes and goes", self.path))
    }

    /// Keeps the session alive until the node is gone; an error: the server does not answer.
    pub(in super::super) async fn stands(&mut self) -> Result<(), String> {
        let connection = self.connection.as_mut().ok_or("there is no connection")?;
        loop {
            let event = connection.event().await?;
            // What was watched is watched no more.
            if event.path != self.path || event.kind == Kind::Other {
                continue;
            }
            let stat = connection.ask_and_wait(&Question::Exists(&self.path)).await?;
            if stat.ok().and_then(|stat| owner(&stat).ok()) != Some(connection.session.id) {
                return Ok(());
            }
        }
    }

    /// Ends the session, and the node with it.
    pub(in super::super) async fn end(&mut self) -> Result<(), String> {
        let connection = match self.connection.take() {
            Some(connection) => Some(connection),
            None if self.client.session.is_some() => Some(self.client.open().await?),
            None => None,
        };
        self.taken = None;
        let Some(mut connection) = connection else { return Ok(()) };
        let closed = connection.ask_and_wait(&Question::Close).await?;
        self.client.forget();
        closed.map(drop).map_err(|refusal| refusal.to_string())
    }
}
