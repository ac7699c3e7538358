//! For the gateway, and for whoever else runs plugins that are linked in: what a plugin asks for ([`Host`]), what it can be
//! called for ([`Instance`]), and the endpoints that it sees ([`Table`]). Authors of plugins need none of it.
//!
//! The calls are those of the boundary, so a gateway has one implementation for both forms of a plugin. A call that
//! panics unwinds to the gateway, which catches it and discards the instance.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use gatewright_abi::{Column, Element, kind};

use crate::decide::{Route, Verdict};
use crate::error::Result;
use crate::kinds::{Balancer, Filter, Router};
use crate::outcome::Outcome;
use crate::pick::Pick;
use crate::runtime::Runtime;
use crate::sys::native::enter;

/// What the gateway does for a plugin: the imports of the boundary, with slices for addresses. Numbers mean what they mean
/// there (`gatewright-abi`); a `read` is called once with the value if there is one, and then `true` is returned.
pub trait Host {
    /// Fills a live column of the table with [`Table::words`], and does so before each pick from now on.
    fn column(&self, table: &Table, column: Column);
    /// `request_text`.
    fn request_text(&self, what: u32, read: &mut dyn FnMut(&[u8])) -> bool;
    /// `cookie`.
    fn cookie(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool;
    /// `query_value`.
    fn query_value(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool;
    /// `header`.
    fn header(&self, side: u32, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool;
    /// `headers`: each with name and value; `false` when there is no such side.
    fn headers(&self, side: u32, each: &mut dyn FnMut(&[u8], &[u8])) -> bool;
    /// `hash`: 0 for what is absent.
    fn hash(&self, what: u32, name: &[u8], seed: u64) -> u64;
    /// `edit_header`.
    fn edit_header(&self, how: u32, side: u32, name: &[u8], value: &[u8]) -> i32;
    /// `set_path`.
    fn set_path(&self, path: &[u8]) -> i32;
    /// `status`.
    fn status(&self) -> i32;
    /// `set_status`.
    fn set_status(&self, status: u32) -> i32;
    /// `tag`.
    fn tag(&self, name: &[u8], read: &mut dyn FnMut(&[u8])) -> bool;
    /// `set_tag`.
    fn set_tag(&self, name: &[u8], value: &[u8]) -> i32;
    /// `cache`.
    fn cache(&self, what: u32, text: &[u8], seconds: u64) -> i32;
    /// `log`.
    fn log(&self, level: u32, text: &[u8]);
    /// `clock`, in microseconds.
    fn clock(&self) -> u64;
    /// `unix_time`, in milliseconds.
    fn unix_time(&self) -> u64;
    /// `random`.
    fn random(&self) -> u64;
    /// `metric`.
    fn metric(&self, kind: u32, name: &[u8], label: &[u8], value: &[u8]) -> i32;
    /// `metric_add`.
    fn metric_add(&self, metric: i32, by: f64);
    /// `metric_set`.
    fn metric_set(&self, metric: i32, value: f64);
    /// `metric_record`.
    fn metric_record(&self, metric: i32, value: f64);
    /// `slot_load`.
    fn slot_load(&self, slot: u32) -> i64;
    /// `slot_store`.
    fn slot_store(&self, slot: u32, value: i64);
    /// `slot_add`: the value before.
    fn slot_add(&self, slot: u32, by: i64) -> i64;
    /// `slot_swap`: the value before.
    fn slot_swap(&self, slot: u32, expected: i64, value: i64) -> i64;
    /// `shared_get`.
    fn shared_get(&self, key: &[u8], read: &mut dyn FnMut(&[u8])) -> bool;
    /// `shared_set`: `ms` is 0 for ever.
    fn shared_set(&self, key: &[u8], value: &[u8], ms: u64) -> i32;
    /// `shared_remove`.
    fn shared_remove(&self, key: &[u8]) -> i32;
    /// `secret`.
    fn secret(&self) -> [u8; 32];
    /// The plugin does nothing with outcomes: it need not be told of any.
    fn is_deaf(&self) {}
}

/// A plugin that is linked in: what `plugin()` of its crate returns.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    kinds: u32,
    configure: Configure,
    types: fn() -> [&'static str; 3],
}

/// Makes an instance: kinds, configuration, and what surrounds it.
type Configure = fn(u32, &str, &dyn Host, &Table) -> Result<Box<dyn Instance>>;

impl Plugin {
    /// A plugin of these types, of which `kinds` are meant. [`export!`](crate::export) calls it.
    #[doc(hidden)]
    pub const fn of<B, R, F>(kinds: u32) -> Plugin
    where
        B: Balancer + Send + 'static,
        R: Router + Send + 'static,
        F: Filter + Send + 'static,
    {
        Plugin { kinds, configure: Linked::<B, R, F>::boxed, types: names::<B, R, F> }
    }

    /// Which kinds it offers: bits of [`kind`].
    pub const fn kinds(&self) -> u32 {
        self.kinds
    }

    /// Whether it is a balancer.
    pub const fn is_balancer(&self) -> bool {
        self.kinds & kind::BALANCER != 0
    }

    /// The names of its types by kind; empty for a kind that it is not.
    pub fn types(&self) -> [&'static str; 3] {
        let named = (self.types)();
        let kinds = [kind::BALANCER, kind::ROUTER, kind::FILTER];
        std::array::from_fn(|place| if self.kinds & kinds[place] == 0 { "" } else { named[place] })
    }

    /// Makes an instance for these of its kinds, with the configuration as JSON text. A balancer's table is filled before.
    pub fn configure(&self, kinds: u32, config: &str, host: &dyn Host, table: &Table) -> Result<Box<dyn Instance>> {
        (self.configure)(kinds & self.kinds, config, host, table)
    }
}

fn names<B, R, F>() -> [&'static str; 3] {
    use std::any::type_name;
    [type_name::<B>(), type_name::<R>(), type_name::<F>()]
}

/// A plugin at work. Belongs to one thread at a time. Calls of a kind that it was not made for carry on or fall back.
pub trait Instance: Send {
    /// `gw_endpoints_changed`: the table has been [reset](Table::reset) and filled.
    fn endpoints_changed(&mut self, host: &dyn Host, table: &Table);
    /// `gw_pick`: the live columns that the table [wants](Table::wanted) have been written.
    fn pick(&mut self, host: &dyn Host, table: &Table, attempt: u32) -> Pick;
    /// `gw_outcome`.
    fn outcome(&mut self, host: &dyn Host, table: &Table, outcome: &Outcome);
    /// `gw_route`.
    fn route(&mut self, host: &dyn Host) -> Route;
    /// `gw_on_request`.
    fn on_request(&mut self, host: &dyn Host) -> Verdict;
    /// `gw_on_response`.
    fn on_response(&mut self, host: &dyn Host) -> Verdict;
    /// `gw_on_fetch`.
    fn on_fetch(&mut self, host: &dyn Host);
    /// `gw_tick`: how long until the next one.
    fn tick(&mut self, host: &dyn Host, table: &Table) -> Option<Duration>;
    /// `gw_snapshot`.
    fn snapshot(&mut self, host: &dyn Host) -> Option<Vec<u8>>;
    /// `gw_restore`: whether it was taken, or why not.
    fn restore(&mut self, host: &dyn Host, table: &Table, state: &[u8]) -> Result<()>;
}

struct Linked<B, R, F> {
    runtime: Runtime<B, R, F>,
    generator: Cell<u64>,
}

impl<B: Balancer + Send + 'static, R: Router + Send + 'static, F: Filter + Send + 'static> Linked<B, R, F> {
    fn boxed(kinds: u32, config: &str, host: &dyn Host, table: &Table) -> Result<Box<dyn Instance>> {
        let generator = Cell::new(0);
        let runtime = enter(host, Some(table), &generator, || {
            table.show(|endpoints| Runtime::<B, R, F>::configure(kinds, config.as_bytes(), endpoints))
        })?;
        Ok(Box::new(Linked { runtime, generator }))
    }
}

impl<B: Balancer + Send, R: Router + Send, F: Filter + Send> Instance for Linked<B, R, F> {
    fn endpoints_changed(&mut self, host: &dyn Host, table: &Table) {
        enter(host, Some(table), &self.generator, || table.show(|endpoints| self.runtime.endpoints_changed(endpoints)));
    }

    fn pick(&mut self, host: &dyn Host, table: &Table, attempt: u32) -> Pick {
        enter(host, Some(table), &self.generator, || table.show(|endpoints| self.runtime.pick(endpoints, attempt)))
    }

    fn outcome(&mut self, host: &dyn Host, table: &Table, outcome: &Outcome) {
        enter(host, Some(table), &self.generator, || table.show(|endpoints| self.runtime.outcome(endpoints, outcome)));
    }

    fn route(&mut self, host: &dyn Host) -> Route {
        enter(host, None, &self.generator, || self.runtime.route())
    }

    fn on_request(&mut self, host: &dyn Host) -> Verdict {
        enter(host, None, &self.generator, || self.runtime.on_request())
    }

    fn on_response(&mut self, host: &dyn Host) -> Verdict {
        enter(host, None, &self.generator, || self.runtime.on_response())
    }

    fn on_fetch(&mut self, host: &dyn Host) {
        enter(host, None, &self.generator, || self.runtime.on_fetch());
    }

    fn tick(&mut self, host: &dyn Host, table: &Table) -> Option<Duration> {
        enter(host, Some(table), &self.generator, || table.show(|endpoints| self.runtime.tick(endpoints)))
    }

    fn snapshot(&mut self, host: &dyn Host) -> Option<Vec<u8>> {
        enter(host, None, &self.generator, || self.runtime.snapshot())
    }

    fn restore(&mut self, host: &dyn Host, table: &Table, state: &[u8]) -> Result<()> {
        enter(host, Some(table), &self.generator, || table.show(|endpoints| self.runtime.restore(state, endpoints)))
    }
}

/// The endpoint table in native memory. The gateway has one for each instance of a balancer.
///
/// The fixed columns are always there: the gateway fills them when endpoints change. A live column is written from the
/// first time that the plugin reads it: that asks [`Host::column`], and from then on the table [wants](Table::wanted) it.
/// So a plugin pays for the columns that it reads, as it does in WebAssembly, where its imports tell them.
#[derive(Default)]
pub struct Table {
    count: u32,
    generation: u32,
    /// Bits by number.
    wanted: Cell<u32>,
    /// Columns of 32 bits, numbers with a fraction as their bits.
    words: [Box<[Cell<u32>]>; Column::ALL.len()],
    ids: Box<[u64]>,
    texts: [Box<[Box<[u8]>]>; TEXTS],
}

/// The columns of text are the last ones.
const TEXTS: usize = 3;
const FIRST_TEXT: usize = Column::Address.number();

const _: () = assert!(FIRST_TEXT + TEXTS == Column::ALL.len());

impl Table {
    /// A table without endpoints.
    pub fn new() -> Table {
        Table::default()
    }

    /// Makes room for other endpoints. All columns are empty then: fill the fixed ones, and the live ones that are wanted.
    pub fn reset(&mut self, count: u32) {
        self.count = count;
        self.generation = self.generation.wrapping_add(1);
        let size = count as usize;
        for column in Column::ALL {
            if let Some(words) = self.words.get_mut(column.number())
                && matches!(column.element(), Element::U32 | Element::F32)
            {
                *words = vec![Cell::new(0); size].into();
            }
        }
        self.ids = vec![0; size].into();
        self.texts = std::array::from_fn(|_| vec![Box::default(); size].into());
    }

    /// How many endpoints there are.
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Another one after each [`reset`](Table::reset).
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The live columns that the plugin reads, to be written before each pick.
    #[inline]
    pub fn wanted(&self) -> impl Iterator<Item = Column> + Clone {
        let wanted = self.wanted.get();
        Column::ALL.iter().copied().filter(move |column| wanted & (1 << column.number()) != 0)
    }

    /// The elements of a column of 32 bits; numbers with a fraction as their bits. Empty for other columns.
    #[inline]
    pub fn words(&self, column: Column) -> &[Cell<u32>] {
        self.words.get(column.number()).map_or(&[], |words| words)
    }

    /// Sets an endpoint's id.
    pub fn set_id(&mut self, endpoint: u32, id: u64) {
        if let Some(place) = self.ids.get_mut(endpoint as usize) {
            *place = id;
        }
    }

    /// Sets an endpoint's address or zone; or its metadata, as the encoded list.
    pub fn set_text(&mut self, column: Column, endpoint: u32, text: &[u8]) {
        let texts = column.number().checked_sub(FIRST_TEXT).and_then(|number| self.texts.get_mut(number));
        if let Some(place) = texts.and_then(|texts| texts.get_mut(endpoint as usize)) {
            *place = text.into();
        }
    }

    /// Sets an endpoint's metadata.
    pub fn set_metadata<'a>(&mut self, endpoint: u32, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let mut list = Vec::new();
        for (name, value) in pairs {
            crate::encoded::push(&mut list, name.as_bytes(), value.as_bytes());
        }
        self.set_text(Column::Metadata, endpoint, &list);
    }

    /// Notes that a column is read. Whether that is new.
    pub(crate) fn want(&self, column: Column) -> bool {
        let is_new = !self.wants(column);
        self.wanted.set(self.wanted.get() | (1 << column.number()));
        is_new
    }

    /// Whether a column holds what it should.
    #[inline(always)]
    pub(crate) fn wants(&self, column: Column) -> bool {
        !column.is_live() || self.wanted.get() & (1 << column.number()) != 0
    }

    /// Where a column begins: [`count`](Table::count) elements, which stay there while the table is borrowed.
    #[inline(always)]
    pub(crate) fn base(&self, column: Column) -> *const u8 {
        match column.element() {
            Element::U32 | Element::F32 => self.words(column).as_ptr().cast(),
            Element::U64 => self.ids.as_ptr().cast(),
            Element::Text => {
                let texts = column.number().checked_sub(FIRST_TEXT).and_then(|number| self.texts.get(number));
                texts.map_or(std::ptr::null(), |texts| texts.as_ptr().cast())
            }
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted: Vec<Column> = self.wanted().collect();
        f.debug_struct("Table").field("count", &self.count).field("wanted", &wanted).finish_non_exhaustive()
    }
}
