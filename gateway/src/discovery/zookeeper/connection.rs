//! One connection to a server of ZooKeeper: questions and their answers, and what is told besides.
//!
//! In: questions. Out: answers in their turn, and events. Pings the server when there was nothing to say for a third of the session's
//! time, and gives up when there is no whole frame for two thirds of it. Whatever waits may be dropped: what was begun to be sent
//! or read goes on with the next wait. Limits: [`SIZE`] for a frame and for all events that nobody has looked at,
//! [`BEGIN`] and four times [`ANSWER`] for an answer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::super::http::ANSWER;
use super::wire::{self, Event, Malformed, Question, Refusal, Said, Session};
use crate::http::Stream;

/// Until a session begins. A server that begins itself may take the question and never answer it.
const BEGIN: Duration = Duration::from_secs(3);
/// The largest frame.
const SIZE: usize = 64 << 20;
/// Of the first one.
const FIRST: usize = 4096;
/// What an event takes besides its path.
const EVENT: usize = 64;
/// How much is read at once.
const READ: usize = 16 << 10;

/// A connection on which a session goes on.
pub(super) struct Connection {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    /// The turn of the last question.
    turn: i32,
    pub(super) session: Session,
    heard: Instant,
    sent: Instant,
    events: VecDeque<Event>,
    /// How much those take.
    told: usize,
}

/// An answer, or why the question is refused.
pub(super) type Answer = Result<Bytes, Refusal>;

impl Connection {
    /// Begins a session, or goes on with one; `None` when that is over.
    pub(super) async fn begin(
        stream: Stream,
        time: Duration,
        session: Option<&Session>,
    ) -> Result<Option<Connection>, String> {
        let now = Instant::now();
        let time_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let unknown = Session { id: 0, password: Vec::new(), timeout_ms: time_ms };
        let mut connection = Connection {
            stream,
            input: BytesMut::new(),
            output: BytesMut::from(&*wire::connect(time_ms, session)),
            turn: 0,
            session: unknown,
            heard: now,
            sent: now,
            events: VecDeque::new(),
            told: 0,
        };
        let first = tokio::time::timeout(BEGIN, connection.frame(FIRST)).await;
        let first = first.unwrap_or_else(|_| Err("no answer in time".to_owned()))?;
        let begun = wire::connected(&first).map_err(|malformed| malformed.to_string())?;
        Ok(begun.map(|session| Connection { session, heard: Instant::now(), ..connection }))
    }

    /// Says who we are.
    pub(super) async fn authenticate(&mut self, name: &str, password: &str) -> Result<(), String> {
        self.send(&wire::authenticate(name, password));
        in_time(async {
            loop {
                let frame = self.next().await?;
                if let Said::Authenticated(outcome) = self.understand(&frame)? {
                    return outcome.map_err(|refusal| refusal.to_string());
                }
            }
        })
        .await
    }

    /// Asks. The answer is waited for with [`Connection::answer`].
    pub(super) fn ask(&mut self, question: &Question<'_>) -> i32 {
        self.turn = self.turn % i32::MAX + 1;
        self.send(&question.frame(self.turn));
        self.turn
    }

    /// The answer to the question that had this turn. Those before it, which nobody waits for any more, are passed over.
    pub(super) async fn answer(&mut self, turn: i32) -> Result<Answer, String> {
        in_time(async {
            loop {
                let frame = self.next().await?;
                match self.understand(&frame)? {
                    Said::Answer(other, answer) if other == turn => {
                        return Ok(answer.map(|body| frame.slice_ref(body)));
                    }
                    Said::Answer(other, _) if other > self.turn || other < 1 => return Err(Malformed.to_string()),
                    _ => {}
                }
            }
        })
        .await
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask_and_wait(&mut self, question: &Question<'_>) -> Result<Answer, String> {
        let turn = self.ask(question);
        self.answer(turn).await
    }

    /// What has changed.
    pub(super) async fn event(&mut self) -> Result<Event, String> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.told = self.told.saturating_sub(event.path.len() + EVENT);
                return Ok(event);
            }
            let frame = self.next().await?;
            self.understand(&frame)?;
        }
    }

    /// Events are kept until they are asked for.
    fn understand<'a>(&mut self, frame: &'a [u8]) -> Result<Said<'a>, String> {
        let said = wire::said(frame).map_err(|malformed| malformed.to_string())?;
        if let Said::Event(event) = &said {
            self.told += event.path.len() + EVENT;
            if self.told > SIZE {
                return Err("it tells of more than anybody has asked for".to_owned());
            }
            self.events.push_back(event.clone());
        }
        Ok(said)
    }

    fn send(&mut self, frame: &[u8]) {
        self.output.extend_from_slice(frame);
        self.sent = Instant::now();
    }

    /// The next frame of the session.
    async fn next(&mut self) -> Result<Bytes, String> {
        let time = Duration::from_millis(self.session.timeout_ms.into());
        loop {
            let (ping, silent) = (self.sent + time / 3, self.heard + time * 2 / 3);
            match tokio::time::timeout_at(ping.min(silent), self.frame(SIZE)).await {
                Ok(frame) => {
                    self.heard = Instant::now();
                    return frame;
                }
                Err(_) if Instant::now() >= silent => return Err("it says nothing any more".to_owned()),
                Err(_) => self.send(&wire::ping()),
            }
        }
    }

    /// Sends what there is to send, then reads a frame.
    async fn frame(&mut self, most: usize) -> Result<Bytes, String> {
        let failed = |error: std::io::Error| error.to_string();
        while !self.output.is_empty() {
            let written = self.stream.write(&self.output).await.map_err(failed)?;
            self.output.advance(written.min(self.output.len()));
            if written == 0 {
                return Err(closed());
            }
        }
        self.stream.flush().await.map_err(failed)?;
        loop {
            let length = self.input.first_chunk().map(|length| u32::from_be_bytes(*length) as usize);
            match length {
                Some(length) if length == 0 || length > most => return Err(Malformed.to_string()),
                Some(length) if self.input.len() >= length + 4 => {
                    self.input.advance(4);
                    return Ok(self.input.split_to(length).freeze());
                }
                _ => {}
            }
            // As much as there may be, but not before it comes.
            self.input.reserve(READ);
            if self.stream.read_buf(&mut self.input).await.map_err(failed)? == 0 {
                return Err(closed());
            }
        }
    }
}

async fn in_time<T>(answering: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    // A long list takes longer than a word.
    let answer = tokio::time::timeout(ANSWER * 4, answering).await;
    answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

fn closed() -> String {
    "it closed the connection".to_owned()
}
