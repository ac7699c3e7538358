//! What the gateway offers to plugins, as functions that they import. Here addresses become slices, nowhere else: an address
//! outside the plugin's memory is a fault, whatever it was for.

use std::time::Duration;

use gatewright_abi::{Column, IMPORT_MODULE, answer, bound, edit, hash, import, side};
use smallvec::SmallVec;
use wasmtime::{Caller, Linker};

use super::fault::{Fault, LoadError};
use super::guest::Guest;
use super::request::{Edit, FieldName, Side, What};

/// A number that tells how large a value is, or why there is none.
type Size = Result<i32, Fault>;

/// All imports, ready to be linked.
pub(super) fn linker(engine: &wasmtime::Engine) -> Result<Linker<Guest>, LoadError> {
    let mut linker = Linker::new(engine);
    let added = columns(&mut linker)
        .and_then(|()| reading(&mut linker))
        .and_then(|()| changing(&mut linker))
        .and_then(|()| services(&mut linker))
        .and_then(|()| shared(&mut linker));
    added.map_err(|error| LoadError::Engine(error.to_string()))?;
    Ok(linker)
}

fn columns(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for column in Column::ALL {
        let number = column.number();
        linker.func_wrap(IMPORT_MODULE, column.import(), move |caller: Caller<'_, Guest>| {
            caller.data().columns.get(number).copied().unwrap_or(0).cast_signed()
        })?;
    }
    Ok(())
}

fn reading(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        IMPORT_MODULE,
        import::REQUEST_TEXT,
        |mut caller: Caller<'_, Guest>, what: u32, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            Ok(read(memory, guest, What::Text(what), to, room)?)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::HEADER,
        |mut caller: Caller<'_, Guest>, of: u32, name: u32, size: u32, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let Some(of) = side(of) else { return Ok(answer::INVALID) };
            let Some(name) = Name::of(memory, name, size)? else { return Ok(answer::ABSENT) };
            Ok(read(memory, guest, What::Header(of, FieldName::of(name.text()).text()), to, room)?)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::COOKIE,
        |mut caller: Caller<'_, Guest>, name: u32, size: u32, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let Some(name) = Name::of(memory, name, size)? else { return Ok(answer::ABSENT) };
            Ok(read(memory, guest, What::Cookie(name.text()), to, room)?)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::QUERY_VALUE,
        |mut caller: Caller<'_, Guest>, name: u32, size: u32, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let Some(name) = Name::of(memory, name, size)? else { return Ok(answer::ABSENT) };
            Ok(read(memory, guest, What::Query(name.text()), to, room)?)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::TAG,
        |mut caller: Caller<'_, Guest>, name: u32, size: u32, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let Some(name) = Name::of(memory, name, size)? else { return Ok(answer::ABSENT) };
            if let Some(value) = guest.edits.tag(name.text()) {
                return Ok(copy(memory, value, to, room)?);
            }
            Ok(read(memory, guest, What::Tag(name.text()), to, room)?)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::HEADERS,
        |mut caller: Caller<'_, Guest>, of: u32, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            Ok(headers(memory, guest, of, to, room)?)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::HASH,
        |mut caller: Caller<'_, Guest>, what: u32, name: u32, size: u32, seed: u64| -> wasmtime::Result<u64> {
            let (memory, guest) = parts(&mut caller)?;
            Ok(hash_of(guest, what, slice(memory, name, size)?, seed))
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, import::STATUS, |caller: Caller<'_, Guest>| -> i32 {
        let status = caller.data().head().and_then(|head| head.status());
        status.map_or(answer::NOT_NOW, i32::from)
    })?;
    Ok(())
}

fn changing(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        IMPORT_MODULE,
        import::EDIT_HEADER,
        |mut caller: Caller<'_, Guest>,
         how: u32,
         of: u32,
         name: u32,
         size: u32,
         value: u32,
         length: u32|
         -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let (name, value) = (slice(memory, name, size)?, slice(memory, value, length)?);
            let Some(of) = side(of) else { return Ok(answer::INVALID) };
            let wanted = match how {
                edit::SET => Edit::Set(of, name, value),
                edit::ADD => Edit::Add(of, name, value),
                edit::REMOVE => Edit::Remove(of, name),
                _ => return Ok(answer::INVALID),
            };
            Ok(note(guest, wanted))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SET_PATH,
        |mut caller: Caller<'_, Guest>, path: u32, size: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let path = slice(memory, path, size)?;
            Ok(note(guest, Edit::Path(path)))
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, import::SET_STATUS, |mut caller: Caller<'_, Guest>, status: u32| -> i32 {
        let Ok(status) = u16::try_from(status) else { return answer::INVALID };
        note(caller.data_mut(), Edit::Status(status))
    })?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SET_TAG,
        |mut caller: Caller<'_, Guest>, name: u32, size: u32, value: u32, length: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let (name, value) = (slice(memory, name, size)?, slice(memory, value, length)?);
            if name.is_empty() || name.len() > bound::TAG_BYTES || value.len() > bound::TAG_BYTES {
                return Ok(answer::INVALID);
            }
            Ok(note(guest, Edit::Tag(name, value)))
        },
    )?;
    Ok(())
}

fn services(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        IMPORT_MODULE,
        import::LOG,
        |mut caller: Caller<'_, Guest>, level: u32, text: u32, size: u32| -> wasmtime::Result<()> {
            let (memory, guest) = parts(&mut caller)?;
            guest.services.log(level, slice(memory, text, size)?);
            Ok(())
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, import::CLOCK, |caller: Caller<'_, Guest>| -> u64 {
        caller.data().services.time().micros()
    })?;
    linker.func_wrap(IMPORT_MODULE, import::UNIX_TIME, |caller: Caller<'_, Guest>| -> u64 {
        caller.data().services.time().unix_millis()
    })?;
    linker.func_wrap(IMPORT_MODULE, import::RANDOM, |mut caller: Caller<'_, Guest>| -> u64 {
        let guest = caller.data_mut();
        guest.services.told_random().unwrap_or_else(|| guest.random.u64(..))
    })?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::METRIC,
        |mut caller: Caller<'_, Guest>,
         kind: u32,
         name: u32,
         size: u32,
         label: u32,
         length: u32,
         value: u32,
         last: u32|
         -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let (name, label) = (slice(memory, name, size)?, slice(memory, label, length)?);
            let series = match guest.services.series(kind, name, label, slice(memory, value, last)?) {
                Ok(series) => series,
                Err(why) => return Ok(why),
            };
            let known = guest.series.iter().position(|one| std::sync::Arc::ptr_eq(one, &series));
            let number = known.unwrap_or_else(|| {
                guest.series.push(series);
                guest.series.len() - 1
            });
            Ok(i32::try_from(number).unwrap_or(answer::FULL))
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, import::METRIC_ADD, |caller: Caller<'_, Guest>, number: u32, by: f64| {
        if let Some(series) = caller.data().series.get(number as usize) {
            series.add(by);
        }
    })?;
    linker.func_wrap(IMPORT_MODULE, import::METRIC_SET, |caller: Caller<'_, Guest>, number: u32, to: f64| {
        if let Some(series) = caller.data().series.get(number as usize) {
            series.set(to);
        }
    })?;
    linker.func_wrap(IMPORT_MODULE, import::METRIC_RECORD, |caller: Caller<'_, Guest>, number: u32, value: f64| {
        if let Some(series) = caller.data().series.get(number as usize) {
            series.record(value);
        }
    })?;
    Ok(())
}

fn shared(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(IMPORT_MODULE, import::SLOT_LOAD, |caller: Caller<'_, Guest>, number: u32| -> i64 {
        caller.data().services.slot_load(number)
    })?;
    linker.func_wrap(IMPORT_MODULE, import::SLOT_STORE, |caller: Caller<'_, Guest>, number: u32, value: i64| {
        caller.data().services.slot_store(number, value);
    })?;
    linker.func_wrap(IMPORT_MODULE, import::SLOT_ADD, |caller: Caller<'_, Guest>, number: u32, by: i64| -> i64 {
        caller.data().services.slot_add(number, by)
    })?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SLOT_SWAP,
        |caller: Caller<'_, Guest>, number: u32, expected: i64, value: i64| -> i64 {
            caller.data().services.slot_swap(number, expected, value)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SHARED_GET,
        |mut caller: Caller<'_, Guest>, key: u32, size: u32, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let Some(key) = Name::of(memory, key, size)? else { return Ok(answer::ABSENT) };
            let mut copied = Ok(answer::ABSENT);
            let now = guest.services.time().now();
            guest.services.shared().read(key.text(), now, &mut |value| copied = copy(memory, value, to, room));
            Ok(copied?)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SHARED_SET,
        |mut caller: Caller<'_, Guest>,
         key: u32,
         size: u32,
         value: u32,
         length: u32,
         life: u64|
         -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let (key, value) = (slice(memory, key, size)?, slice(memory, value, length)?);
            let life = (life > 0).then(|| Duration::from_millis(life));
            Ok(guest.services.shared().write(key, value, life, guest.services.time().now()))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SHARED_REMOVE,
        |mut caller: Caller<'_, Guest>, key: u32, size: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            Ok(guest.services.shared().remove(slice(memory, key, size)?))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SECRET,
        |mut caller: Caller<'_, Guest>, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            Ok(copy(memory, &guest.services.secret(), to, room)?)
        },
    )?;
    Ok(())
}

/// The instance's memory, and what is kept beside it.
fn parts<'a>(caller: &'a mut Caller<'_, Guest>) -> Result<(&'a mut [u8], &'a mut Guest), Fault> {
    let memory = caller.data().memory.ok_or(Fault::Pointer)?;
    Ok(memory.data_and_store_mut(caller))
}

/// What stands at an address.
pub(super) fn slice(memory: &[u8], at: u32, size: u32) -> Result<&[u8], Fault> {
    let (at, size) = (at as usize, size as usize);
    at.checked_add(size).and_then(|end| memory.get(at..end)).ok_or(Fault::Pointer)
}

/// Copies what fits to an address; how large the whole is.
fn copy(memory: &mut [u8], value: &[u8], to: u32, room: u32) -> Size {
    let (to, room) = (to as usize, room as usize);
    let room = to.checked_add(room).and_then(|end| memory.get_mut(to..end)).ok_or(Fault::Pointer)?;
    let size = room.len().min(value.len());
    if let (Some(room), Some(value)) = (room.get_mut(..size), value.get(..size)) {
        room.copy_from_slice(value);
    }
    Ok(i32::try_from(value.len()).unwrap_or(i32::MAX))
}

fn read(memory: &mut [u8], guest: &Guest, what: What<'_>, to: u32, room: u32) -> Size {
    let Some(head) = guest.head() else {
        slice(memory, to, room)?;
        return Ok(answer::NOT_NOW);
    };
    let mut copied = Ok(answer::ABSENT);
    if !head.read(what, &mut |value| copied = copy(memory, value, to, room)) {
        // The buffer is looked at in any case: a wrong address does not depend on luck.
        slice(memory, to, room)?;
    }
    copied
}

fn headers(memory: &mut [u8], guest: &Guest, of: u32, to: u32, room: u32) -> Size {
    slice(memory, to, room)?;
    let (Some(head), Some(of)) = (guest.head(), side(of)) else { return Ok(answer::NOT_NOW) };
    let mut list = Vec::new();
    let there = head.each_header(of, &mut |name, value| {
        for part in [name, value] {
            list.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_le_bytes());
            list.extend_from_slice(part);
        }
    });
    if there { copy(memory, &list, to, room) } else { Ok(answer::NOT_NOW) }
}

fn hash_of(guest: &Guest, what: u32, name: &[u8], seed: u64) -> u64 {
    let field;
    let what = match what {
        hash::CLIENT => What::Text(gatewright_abi::text::CLIENT),
        hash::PATH => What::Text(gatewright_abi::text::PATH),
        hash::AUTHORITY => What::Text(gatewright_abi::text::AUTHORITY),
        hash::HEADER => {
            if name.len() > Name::LONGEST {
                return 0;
            }
            field = FieldName::of(name);
            What::Header(Side::Request, field.text())
        }
        hash::COOKIE => What::Cookie(name),
        hash::QUERY => What::Query(name),
        hash::TAG => What::Tag(name),
        _ => return 0,
    };
    let mut hash = 0;
    let mut reader = |value: &[u8]| hash = gatewright_abi::hash64(value, seed).max(1);
    match what {
        What::Tag(name) if guest.edits.tag(name).is_some() => reader(guest.edits.tag(name).unwrap_or_default()),
        what => drop(guest.head().is_some_and(|head| head.read(what, &mut reader))),
    }
    hash
}

/// Notes a change that is done when the call has ended well.
fn note(guest: &mut Guest, wanted: Edit<'_>) -> i32 {
    match guest.head().map(|head| head.allows(&wanted)) {
        None => answer::NOT_NOW,
        Some(false) => answer::INVALID,
        Some(true) if guest.edits.push(wanted) => answer::DONE,
        Some(true) => answer::FULL,
    }
}

fn side(number: u32) -> Option<Side> {
    match number {
        side::REQUEST => Some(Side::Request),
        side::RESPONSE => Some(Side::Response),
        _ => None,
    }
}

/// A name out of the plugin's memory, which is then written to.
struct Name(SmallVec<[u8; 48]>);

impl Name {
    /// No name is longer.
    const LONGEST: usize = 256;

    /// `None` when it is too long to name anything.
    fn of(memory: &[u8], at: u32, size: u32) -> Result<Option<Name>, Fault> {
        let text = slice(memory, at, size)?;
        Ok((text.len() <= Name::LONGEST).then(|| Name(SmallVec::from_slice(text))))
    }

    fn text(&self) -> &[u8] {
        &self.0
    }
}
