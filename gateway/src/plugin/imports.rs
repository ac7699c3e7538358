//! What the gateway offers to plugins, as functions that they import. Here addresses become slices, nowhere else: an address
//! outside the plugin's memory is a fault, whatever it was for.

use gatewright_abi::{Column, IMPORT_MODULE, answer, import};
use smallvec::SmallVec;
use wasmtime::{Caller, Linker};

use super::fault::{Fault, LoadError};
use super::guest::Guest;
use super::offer::{LONGEST_NAME, side};
use super::request::{What, in_lower_case};

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
            Ok(read(memory, guest, What::Header(of, &in_lower_case(name.text())), to, room)?)
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
            Ok(guest.offer.hash(guest.head(), what, slice(memory, name, size)?, seed))
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
            let (now, offer) = guest.desk();
            Ok(offer.edit_header(now, how, of, name, value))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SET_PATH,
        |mut caller: Caller<'_, Guest>, path: u32, size: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let (now, offer) = guest.desk();
            Ok(offer.set_path(now, slice(memory, path, size)?))
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, import::SET_STATUS, |mut caller: Caller<'_, Guest>, status: u32| -> i32 {
        let (now, offer) = caller.data_mut().desk();
        offer.set_status(now, status)
    })?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SET_TAG,
        |mut caller: Caller<'_, Guest>, name: u32, size: u32, value: u32, length: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let (name, value) = (slice(memory, name, size)?, slice(memory, value, length)?);
            let (now, offer) = guest.desk();
            Ok(offer.set_tag(now, name, value))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::CACHE,
        |mut caller: Caller<'_, Guest>, what: u32, text: u32, size: u32, seconds: u64| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let (now, offer) = guest.desk();
            Ok(offer.cache(now, what, slice(memory, text, size)?, seconds))
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
            guest.offer.services.log(level, slice(memory, text, size)?);
            Ok(())
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, import::CLOCK, |caller: Caller<'_, Guest>| -> u64 {
        caller.data().offer.services.time().micros()
    })?;
    linker.func_wrap(IMPORT_MODULE, import::UNIX_TIME, |caller: Caller<'_, Guest>| -> u64 {
        caller.data().offer.services.time().unix_millis()
    })?;
    linker.func_wrap(IMPORT_MODULE, import::RANDOM, |mut caller: Caller<'_, Guest>| -> u64 {
        caller.data_mut().offer.random()
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
            Ok(guest.offer.metric(kind, name, label, slice(memory, value, last)?))
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, import::METRIC_ADD, |caller: Caller<'_, Guest>, number: u32, by: f64| {
        if let Some(series) = caller.data().offer.series(number) {
            series.add(by);
        }
    })?;
    linker.func_wrap(IMPORT_MODULE, import::METRIC_SET, |caller: Caller<'_, Guest>, number: u32, to: f64| {
        if let Some(series) = caller.data().offer.series(number) {
            series.set(to);
        }
    })?;
    linker.func_wrap(IMPORT_MODULE, import::METRIC_RECORD, |caller: Caller<'_, Guest>, number: u32, value: f64| {
        if let Some(series) = caller.data().offer.series(number) {
            series.record(value);
        }
    })?;
    Ok(())
}

fn shared(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(IMPORT_MODULE, import::SLOT_LOAD, |caller: Caller<'_, Guest>, number: u32| -> i64 {
        caller.data().offer.services.slot_load(number)
    })?;
    linker.func_wrap(IMPORT_MODULE, import::SLOT_STORE, |caller: Caller<'_, Guest>, number: u32, value: i64| {
        caller.data().offer.services.slot_store(number, value);
    })?;
    linker.func_wrap(IMPORT_MODULE, import::SLOT_ADD, |caller: Caller<'_, Guest>, number: u32, by: i64| -> i64 {
        caller.data().offer.services.slot_add(number, by)
    })?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SLOT_SWAP,
        |caller: Caller<'_, Guest>, number: u32, expected: i64, value: i64| -> i64 {
            caller.data().offer.services.slot_swap(number, expected, value)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SHARED_GET,
        |mut caller: Caller<'_, Guest>, key: u32, size: u32, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            let Some(key) = Name::of(memory, key, size)? else { return Ok(answer::ABSENT) };
            let mut copied = Ok(answer::ABSENT);
            guest.offer.shared_get(key.text(), &mut |value| copied = copy(memory, value, to, room));
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
            Ok(guest.offer.shared_set(key, value, life))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SHARED_REMOVE,
        |mut caller: Caller<'_, Guest>, key: u32, size: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            Ok(guest.offer.shared_remove(slice(memory, key, size)?))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        import::SECRET,
        |mut caller: Caller<'_, Guest>, to: u32, room: u32| -> wasmtime::Result<i32> {
            let (memory, guest) = parts(&mut caller)?;
            Ok(copy(memory, &guest.offer.services.secret(), to, room)?)
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
    let now = guest.head();
    let mut copied = Ok(if now.is_some() { answer::ABSENT } else { answer::NOT_NOW });
    if !guest.offer.read(now, what, &mut |value| copied = copy(memory, value, to, room)) {
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

/// A name out of the plugin's memory, which is then written to.
struct Name(SmallVec<[u8; 48]>);

impl Name {
    /// `None` when it is too long to name anything.
    fn of(memory: &[u8], at: u32, size: u32) -> Result<Option<Name>, Fault> {
        let text = slice(memory, at, size)?;
        Ok((text.len() <= LONGEST_NAME).then(|| Name(SmallVec::from_slice(text))))
    }

    fn text(&self) -> &[u8] {
        &self.0
    }
}
