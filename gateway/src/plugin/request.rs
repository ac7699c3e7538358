//! What a plugin sees of a request, and what it wants changed in it. The host of plugins does not know how HTTP is spoken;
//! whoever calls a plugin shows it a [`Head`].

use std::borrow::Cow;

use gatewright_abi::bound;

/// Something that a plugin may read of a request or its response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What<'a> {
    /// One of [`gatewright_abi::text`].
    Text(u32),
    /// The first field of this name, which is in lower case.
    Header(Side, &'a [u8]),
    /// The first cookie of this name.
    Cookie(&'a [u8]),
    /// The first parameter of the query of this name, decoded.
    Query(&'a [u8]),
    /// A tag.
    Tag(&'a [u8]),
}

/// A name of a field as plugins write it, as one to ask for.
pub(super) fn in_lower_case(name: &[u8]) -> Cow<'_, [u8]> {
    match name.iter().any(u8::is_ascii_uppercase) {
        false => Cow::Borrowed(name),
        true => Cow::Owned(name.to_ascii_lowercase()),
    }
}

/// Whose fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The request's.
    Request,
    /// The response's.
    Response,
}

/// A request, and in time its response, as plugins see them.
pub trait Head {
    /// Hands the value to the reader, once. Whether there is one.
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool;

    /// Hands every field to the reader. Whether that side is there.
    fn each_header(&self, side: Side, reader: &mut dyn FnMut(&[u8], &[u8])) -> bool;

    /// The response's status.
    fn status(&self) -> Option<u16>;

    /// Whether this edit is possible at all.
    fn allows(&self, edit: &Edit<'_>) -> bool;

    /// A random number of the request's own, the same whenever it is asked for; where no version is ever on trial, any.
    fn draw(&self) -> u32 {
        0
    }
}

/// One change that a plugin wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edit<'a> {
    /// This field, alone of its name.
    Set(Side, &'a [u8], &'a [u8]),
    /// This field too.
    Add(Side, &'a [u8], &'a [u8]),
    /// No field of this name.
    Remove(Side, &'a [u8]),
    /// This path, with a query perhaps.
    Path(&'a [u8]),
    /// This status.
    Status(u16),
    /// This tag.
    Tag(&'a [u8], &'a [u8]),
    /// This of the cache.
    Cache(Wish<'a>),
}

/// What a plugin wants of the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish<'a> {
    /// This part of the key too.
    Key(&'a [u8]),
    /// Past it.
    Bypass,
    /// The answer is fresh for so many seconds.
    Ttl(u64),
    /// The answer is not kept.
    NoStore,
    /// The answer can be purged by this, too.
    Tag(&'a [u8]),
}

/// The changes that one call wants, in order. Nothing of them is done unless the call ends well.
#[derive(Default, Debug)]
pub struct Edits {
    bytes: Vec<u8>,
    list: Vec<Entry>,
    tags: usize,
    /// Past the cache, whatever has no room: it comes last.
    bypass: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: Kind,
    name: usize,
    value: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Set(Side),
    Add(Side),
    Remove(Side),
    Path,
    Status(u16),
    Tag,
    CacheKey,
    CacheTtl(u64),
    NoStore,
    CacheTag,
}

impl Edits {
    /// None yet.
    pub const fn new() -> Edits {
        Edits { bytes: Vec::new(), list: Vec::new(), tags: 0, bypass: false }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.bypass
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
        self.tags = 0;
        self.bypass = false;
    }

    /// Notes one more, unless there are too many. Names of fields are kept in lower case.
    pub fn push(&mut self, edit: Edit<'_>) -> bool {
        let (kind, name, value): (Kind, &[u8], &[u8]) = match edit {
            Edit::Set(side, name, value) => (Kind::Set(side), name, value),
            Edit::Add(side, name, value) => (Kind::Add(side), name, value),
            Edit::Remove(side, name) => (Kind::Remove(side), name, b""),
            Edit::Path(path) => (Kind::Path, b"", path),
            Edit::Status(status) => (Kind::Status(status), b"", b""),
            Edit::Tag(name, value) => (Kind::Tag, name, value),
            Edit::Cache(Wish::Key(part)) => (Kind::CacheKey, b"", part),
            Edit::Cache(Wish::Ttl(seconds)) => (Kind::CacheTtl(seconds), b"", b""),
            Edit::Cache(Wish::NoStore) => (Kind::NoStore, b"", b""),
            Edit::Cache(Wish::Tag(tag)) => (Kind::CacheTag, b"", tag),
            Edit::Cache(Wish::Bypass) => {
                self.bypass = true;
                return true;
            }
        };
        let is_tag = matches!(kind, Kind::Tag);
        let full = self.list.len() >= bound::EDITS
            || self.bytes.len() + name.len() + value.len() > bound::EDIT_BYTES
            || (is_tag && self.tags >= bound::TAGS);
        if full {
            return false;
        }
        self.tags += usize::from(is_tag);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        if !is_tag {
            // Nothing but names of fields stands here.
            self.bytes.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
        }
        self.bytes.extend_from_slice(value);
        self.list.push(Entry { kind, name: name.len(), value: value.len() });
        true
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Edit<'_>> {
        let mut rest = &self.bytes[..];
        let bypass = self.bypass.then_some(Edit::Cache(Wish::Bypass));
        let list = self.list.iter().map(move |entry| {
            let mut take = |size: usize| {
                let (taken, left) = rest.split_at(size.min(rest.len()));
                rest = left;
                taken
            };
            let (name, value) = (take(entry.name), take(entry.value));
            match entry.kind {
                Kind::Set(side) => Edit::Set(side, name, value),
                Kind::Add(side) => Edit::Add(side, name, value),
                Kind::Remove(side) => Edit::Remove(side, name),
                Kind::Path => Edit::Path(value),
                Kind::Status(status) => Edit::Status(status),
                Kind::Tag => Edit::Tag(name, value),
                Kind::CacheKey => Edit::Cache(Wish::Key(value)),
                Kind::CacheTtl(seconds) => Edit::Cache(Wish::Ttl(seconds)),
                Kind::NoStore => Edit::Cache(Wish::NoStore),
                Kind::CacheTag => Edit::Cache(Wish::Tag(value)),
            }
        });
        list.chain(bypass)
    }

    /// The tag of this name that the same call has set.
    pub fn tag(&self, name: &[u8]) -> Option<&[u8]> {
        let tags = self.iter().filter_map(|edit| match edit {
            Edit::Tag(set, value) if set == name => Some(value),
            _ => None,
        });
        tags.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_come_out_as_they_went_in_and_are_bounded() {
        let mut edits = Edits::default();
        let all = [
            Edit::Set(Side::Request, b"a", b"1"),
            Edit::Remove(Side::Response, b"b"),
            Edit::Path(b"/x?y"),
            Edit::Tag(b"t", b"one"),
            Edit::Status(404),
            Edit::Tag(b"t", b"two"),
            Edit::Cache(Wish::Key(b"Part")),
            Edit::Cache(Wish::Ttl(7)),
            Edit::Cache(Wish::NoStore),
            Edit::Cache(Wish::Tag(b"Tag")),
        ];
        assert!(all.iter().all(|edit| edits.push(*edit)));
        assert!(edits.iter().eq(all));
        assert_eq!((edits.tag(b"t"), edits.tag(b"u")), (Some(&b"two"[..]), None));
        assert!(edits.push(Edit::Add(Side::Request, b"X-Name", b"Value")) && edits.push(Edit::Tag(b"T", b"x")));
        let told: Vec<_> = edits.iter().skip(all.len()).collect();
        assert_eq!(told, [Edit::Add(Side::Request, b"x-name", b"Value"), Edit::Tag(b"T", b"x")]);
        assert!(!edits.push(Edit::Path(&vec![b'x'; bound::EDIT_BYTES])));
        while edits.push(Edit::Remove(Side::Request, b"x")) {}
        assert_eq!(edits.iter().count(), bound::EDITS);
        // Whatever has no room.
        assert!(edits.push(Edit::Cache(Wish::Bypass)));
        assert_eq!(edits.iter().last(), Some(Edit::Cache(Wish::Bypass)));
        edits.clear();
        assert!(edits.is_empty() && edits.iter().next().is_none());
    }
}
