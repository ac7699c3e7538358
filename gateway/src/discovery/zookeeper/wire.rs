//! What ZooKeeper's clients and servers say: frames of numbers, texts and lists, in the order of bytes of the network.
//!
//! Pure. In: what is wanted, or a frame without the length that stands before it. Out: a frame to send, or what was said. A length
//! or a count is believed only as far as there are bytes for it.

use std::fmt;

/// Turns and numbers of what is no question that has its turn.
const EVENT: i32 = -1;
const PING: (i32, i32) = (-2, 11);
const AUTHENTICATE: (i32, i32) = (-4, 100);
/// Before each answer stand its turn, the number of the last change, and the number of an error.
const HEAD: usize = 16;
/// In what is said of a node, its owner stands behind four numbers of eight bytes and three of four.
const OWNER: usize = 44;
/// All that may be done with a node, and reading it.
const ALL: i32 = 31;
const READ: i32 = 1;

/// What is asked for. Whatever is read is watched from then on, until the first change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question<'a> {
    /// A new node.
    Create {
        path: &'a str,
        data: &'a [u8],
        /// It goes with this session.
        ephemeral: bool,
        /// Others may only read it.
        owned: bool,
    },
    Delete(&'a str),
    Exists(&'a str),
    Data(&'a str),
    Children(&'a str),
    /// Whoever answers is to know what the others know.
    Sync(&'a str),
    /// The session ends.
    Close,
}

/// What lasts longer than a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Session {
    pub(super) id: i64,
    pub(super) password: Vec<u8>,
    /// Without a word for so long it is over.
    pub(super) timeout_ms: u32,
}

/// What a frame says.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Said<'a> {
    /// The answer to the question that had this turn.
    Answer(i32, Result<&'a [u8], Refusal>),
    Event(Event),
    Authenticated(Result<(), Refusal>),
    Pong,
}

/// Something that was watched has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Event {
    /// What has become of it.
    pub(super) kind: Kind,
    /// Which node.
    pub(super) path: String,
}

/// What has become of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It is there.
    Created,
    /// It is gone.
    Deleted,
    /// It says something else.
    Data,
    /// It has other children.
    Children,
    /// What concerns no node.
    Other,
}

/// Why a question is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal(i32);

/// What is not of this protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

impl Refusal {
    /// There is no such node.
    pub(super) const NO_NODE: Refusal = Refusal(-101);
    /// There is such a node already.
    pub(super) const NODE_EXISTS: Refusal = Refusal(-110);
    const NO_AUTH: Refusal = Refusal(-102);
    const EXPIRED: Refusal = Refusal(-112);
    const AUTH_FAILED: Refusal = Refusal(-115);
}

impl Question<'_> {
    /// The frame, with its length.
    pub(super) fn frame(&self, turn: i32) -> Vec<u8> {
        let watched = |operation, path: &str| Writer::of(turn, operation).bytes(path.as_bytes()).flag(true);
        let writer = match *self {
            Question::Create { path, data, ephemeral, owned } => {
                let writer = Writer::of(turn, 1).bytes(path.as_bytes()).bytes(data);
                let writer = match owned {
                    true => writer.int(2).access(ALL, "auth", "").access(READ, "world", "anyone"),
                    false => writer.int(1).access(ALL, "world", "anyone"),
                };
                writer.int(i32::from(ephemeral))
            }
            // Whatever its version.
            Question::Delete(path) => Writer::of(turn, 2).bytes(path.as_bytes()).int(-1),
            Question::Exists(path) => watched(3, path),
            Question::Data(path) => watched(4, path),
            Question::Children(path) => watched(12, path),
            Question::Sync(path) => Writer::of(turn, 9).bytes(path.as_bytes()),
            Question::Close => Writer::of(turn, -11),
        };
        writer.frame()
    }
}

/// The first frame: a new session, or one that is to go on.
pub(super) fn connect(timeout_ms: u32, session: Option<&Session>) -> Vec<u8> {
    let writer = Writer::new().int(0).long(0).int(i32::try_from(timeout_ms).unwrap_or(i32::MAX));
    let writer = match session {
        Some(session) => writer.long(session.id).bytes(&session.password),
        None => writer.long(0).bytes(&[0; 16]),
    };
    // Not one that only answers what is read.
    writer.flag(false).frame()
}

/// What the first frame of a server says; `None`: the session that was to go on is over.
pub(super) fn connected(frame: &[u8]) -> Result<Option<Session>, Malformed> {
    let mut reader = Reader(frame);
    let version = reader.int()?;
    let timeout = reader.int()?;
    let session = Session {
        id: reader.long()?,
        password: reader.bytes()?.to_vec(),
        timeout_ms: u32::try_from(timeout).unwrap_or(0),
    };
    match version {
        0 => Ok(Some(session).filter(|session| session.timeout_ms > 0)),
        _ => Err(Malformed),
    }
}

pub(super) fn ping() -> Vec<u8> {
    Writer::of(PING.0, PING.1).frame()
}

/// Says who we are.
pub(super) fn authenticate(name: &str, password: &str) -> Vec<u8> {
    let writer = Writer::of(AUTHENTICATE.0, AUTHENTICATE.1).int(0).bytes(b"digest");
    writer.bytes(format!("{name}:{password}").as_bytes()).frame()
}

pub(super) fn said(frame: &[u8]) -> Result<Said<'_>, Malformed> {
    let mut reader = Reader(frame);
    let turn = reader.int()?;
    reader.long()?;
    let error = reader.int()?;
    let body = frame.get(HEAD..).unwrap_or_default();
    let refusal = match error {
        0 => Ok(body),
        error => Err(Refusal(error)),
    };
    Ok(match turn {
        EVENT => Said::Event(event(body)?),
        _ if turn == PING.0 => Said::Pong,
        _ if turn == AUTHENTICATE.0 => Said::Authenticated(refusal.map(drop)),
        turn => Said::Answer(turn, refusal),
    })
}

/// The names of a node's children.
pub(super) fn children(body: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut reader = Reader(body);
    let count = usize::try_from(reader.int()?).map_err(|_| Malformed)?;
    // Each has at least its length.
    if count > reader.0.len() / 4 {
        return Err(Malformed);
    }
    (0..count).map(|_| reader.text()).collect()
}

/// What a node says.
pub(super) fn data(body: &[u8]) -> Result<&[u8], Malformed> {
    Reader(body).bytes()
}

/// The session that a node goes with; 0: none.
pub(super) fn owner(body: &[u8]) -> Result<i64, Malformed> {
    Reader(body.get(OWNER..).ok_or(Malformed)?).long()
}

fn event(body: &[u8]) -> Result<Event, Malformed> {
    let mut reader = Reader(body);
    let kind = match reader.int()? {
        1 => Kind::Created,
        2 => Kind::Deleted,
        3 => Kind::Data,
        4 => Kind::Children,
        _ => Kind::Other,
    };
    // Whether the server has the others.
    reader.int()?;
    Ok(Event { kind, path: reader.text()? })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Refusal::NO_NODE => f.write_str("there is no such node"),
            Refusal::NODE_EXISTS => f.write_str("there is such a node already"),
            Refusal::NO_AUTH => f.write_str("we may not"),
            Refusal::EXPIRED => f.write_str("the session is over"),
            Refusal::AUTH_FAILED => f.write_str("our credentials are not taken"),
            Refusal(number) => write!(f, "it answers with error {number}"),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it answers with what is none of ZooKeeper's")
    }
}

/// A frame that is being written; its length comes first.
struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Writer {
        Writer(vec![0; 4])
    }

    fn of(turn: i32, operation: i32) -> Writer {
        Writer::new().int(turn).int(operation)
    }

    fn int(mut self, number: i32) -> Writer {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn long(mut self, number: i64) -> Writer {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn flag(mut self, flag: bool) -> Writer {
        self.0.push(u8::from(flag));
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Writer {
        self = self.int(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    fn access(self, rights: i32, scheme: &str, id: &str) -> Writer {
        self.int(rights).bytes(scheme.as_bytes()).bytes(id.as_bytes())
    }

    fn frame(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len().saturating_sub(4)).unwrap_or(u32::MAX);
        for (place, byte) in self.0.iter_mut().zip(length.to_be_bytes()) {
            *place = byte;
        }
        self.0
    }
}

/// What is still to be read of a frame.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn int(&mut self) -> Result<i32, Malformed> {
        self.take().map(i32::from_be_bytes)
    }

    fn long(&mut self) -> Result<i64, Malformed> {
        self.take().map(i64::from_be_bytes)
    }

    /// A length of -1 stands for nothing at all.
    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = match self.int()? {
            -1 => 0,
            length => usize::try_from(length).map_err(|_| Malformed)?,
        };
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(frame: &[u8]) -> &[u8] {
        assert_eq!(frame[..4], u32::try_from(frame.len() - 4).unwrap().to_be_bytes());
        &frame[4..]
    }

    #[test]
    fn questions_are_written_as_zookeeper_reads_them() {
        // As zkCli.sh sends them.
        let get = b"\0\0\0\x11\0\0\0\x01\0\0\0\x04\0\0\0\x04/foo\x01";
        assert_eq!(Question::Data("/foo").frame(1), get);
        assert_eq!(Question::Close.frame(2), b"\0\0\0\x08\0\0\0\x02\xff\xff\xff\xf5");
        let first = connect(30_000, None);
        assert_eq!((first.len(), &first[..20]), (49, &b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30"[..]));
        let who = authenticate("a", "b");
        assert!(who.ends_with(b"\0\0\0\x06digest\0\0\0\x03a:b"));
        let create = Question::Create { path: "/a", data: b"d", ephemeral: true, owned: true }.frame(5);
        assert!(body(&create).ends_with(b"\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone\0\0\0\x01"));
        assert_eq!(body(&ping()).len(), 8);
    }

    #[test]
    fn answers_are_read() {
        let answer = |turn: i32, error: i32| Writer::new().int(turn).long(9).int(error);
        let frame = answer(3, 0).int(2).bytes(b"a:1").bytes(b"b:1").frame();
        let Ok(Said::Answer(3, Ok(list))) = said(body(&frame)) else { panic!("no answer") };
        assert_eq!(children(list), Ok(vec!["a:1".to_owned(), "b:1".to_owned()]));
        assert_eq!(said(body(&answer(4, -101).frame())), Ok(Said::Answer(4, Err(Refusal::NO_NODE))));
        assert_eq!(said(body(&answer(-2, 0).frame())), Ok(Said::Pong));
        assert_eq!(said(body(&answer(-4, -115).frame())), Ok(Said::Authenticated(Err(Refusal::AUTH_FAILED))));
        let event = answer(-1, 0).int(4).int(3).bytes(b"/a").frame();
        assert_eq!(said(body(&event)), Ok(Said::Event(Event { kind: Kind::Children, path: "/a".to_owned() })));
        assert_eq!(data(body(&Writer::new().int(-1).frame())), Ok(&b""[..]));
        let stat = Writer::new().long(1).long(2).long(3).long(4).int(5).int(6).int(7).long(8).frame();
        assert_eq!(owner(body(&stat)), Ok(8));
    }

    #[test]
    fn a_session_is_read() {
        let session = Session { id: 7, password: vec![1; 16], timeout_ms: 4000 };
        let first = Writer::new().int(0).int(4000).long(7).bytes(&[1; 16]);
        assert_eq!(connected(body(&first.frame())), Ok(Some(session)));
        let over = Writer::new().int(0).int(0).long(0).bytes(&[0; 16]).flag(false);
        assert_eq!(connected(body(&over.frame())), Ok(None));
    }

    #[test]
    fn lengths_and_counts_without_bytes_are_not_believed() {
        let hostile =
            [&b""[..], b"\x7f\xff\xff\xff", b"\xff\xff\xff\xfe", b"\0\0\0\x01\0\0", b"\0\0\0\x01\0\0\0\x05abcd"];
        for bytes in hostile {
            assert_eq!(children(bytes), Err(Malformed), "{bytes:?}");
            assert_eq!(said(bytes), Err(Malformed), "{bytes:?}");
            assert_eq!(connected(bytes), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(data(b"\0\0\0\x05abcd"), Err(Malformed));
        assert_eq!(owner(&[0; 51]), Err(Malformed));
        assert_eq!(connected(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Err(Malformed));
    }
}
